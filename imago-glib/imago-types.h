/* SPDX-FileCopyrightText: The imago-glib authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#if !defined (IMAGO_INSIDE) && !defined (IMAGO_COMPILATION)
#error "Only <imago-glib/imago-glib.h> can be included directly."
#endif

#include <gio/gio.h>
#include <imago-glib/imago-version.h>

G_BEGIN_DECLS

typedef struct _ImagoStorage ImagoStorage;
typedef struct _ImagoStorageRequest ImagoStorageRequest;
typedef struct _ImagoFileStorage ImagoFileStorage;
typedef struct _ImagoMemoryStorage ImagoMemoryStorage;
typedef struct _ImagoNullStorage ImagoNullStorage;
typedef struct _ImagoStreamStorage ImagoStreamStorage;
typedef struct _ImagoWindowStorage ImagoWindowStorage;
typedef struct _ImagoFormat ImagoFormat;
typedef struct _ImagoReference ImagoReference;
typedef struct _ImagoReferencePolicy ImagoReferencePolicy;
typedef struct _ImagoOpenOptions ImagoOpenOptions;
typedef struct _ImagoCreateOptions ImagoCreateOptions;
typedef struct _ImagoExtent ImagoExtent;
typedef struct _ImagoExtentArray ImagoExtentArray;
typedef struct _ImagoSnapshot ImagoSnapshot;
typedef struct _ImagoBitmap ImagoBitmap;
typedef struct _ImagoKeySlot ImagoKeySlot;
typedef struct _ImagoEncryptionInfo ImagoEncryptionInfo;
typedef struct _ImagoImageInfo ImagoImageInfo;
typedef struct _ImagoImage ImagoImage;
typedef struct _ImagoBatch ImagoBatch;
typedef struct _ImagoInspection ImagoInspection;
typedef struct _ImagoJob ImagoJob;
typedef struct _ImagoCommitJob ImagoCommitJob;
typedef struct _ImagoConvertJob ImagoConvertJob;
typedef struct _ImagoConvertPlan ImagoConvertPlan;
typedef struct _ImagoCompareJob ImagoCompareJob;
typedef struct _ImagoMeasureJob ImagoMeasureJob;
typedef struct _ImagoMeasurement ImagoMeasurement;
typedef struct _ImagoRebaseJob ImagoRebaseJob;
typedef struct _ImagoCheckJob ImagoCheckJob;
typedef struct _ImagoResizeJob ImagoResizeJob;
typedef struct _ImagoCompactJob ImagoCompactJob;
typedef struct _ImagoCheckResult ImagoCheckResult;
typedef struct _ImagoCheckMessage ImagoCheckMessage;

/* What G_DECLARE_DERIVABLE_TYPE does, with a class structure that stays private: such types are made by
 * the library only. */
#define IMAGO_DECLARE_INTERNAL_TYPE(ModuleObjName, module_obj_name, MODULE, OBJ_NAME, ParentName) \
  IMAGO_AVAILABLE_IN_1_0 GType module_obj_name##_get_type (void); \
  G_GNUC_BEGIN_IGNORE_DEPRECATIONS \
  typedef struct _##ModuleObjName##Class ModuleObjName##Class; \
  _GLIB_DEFINE_AUTOPTR_CHAINUP (ModuleObjName, ParentName) \
  G_DEFINE_AUTOPTR_CLEANUP_FUNC (ModuleObjName##Class, g_type_class_unref) \
  G_GNUC_UNUSED static inline ModuleObjName *MODULE##_##OBJ_NAME (gpointer instance) { \
    return G_TYPE_CHECK_INSTANCE_CAST (instance, module_obj_name##_get_type (), ModuleObjName); } \
  G_GNUC_UNUSED static inline gboolean MODULE##_IS_##OBJ_NAME (gpointer instance) { \
    return G_TYPE_CHECK_INSTANCE_TYPE (instance, module_obj_name##_get_type ()); } \
  G_GNUC_END_IGNORE_DEPRECATIONS

G_END_DECLS
