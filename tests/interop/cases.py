# SPDX-FileCopyrightText: The imago-glib authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""Makes the images of the combinations: their create options, what is below them and what is written to them."""

import random

from imagotest import create, qemu_io

KIB = 1024


def make_noise():
    """Data that is neither a pattern nor incompressible."""
    rng = random.Random(1)
    words = [bytes(rng.randrange(256) for _ in range(rng.randrange(2, 12))) for _ in range(200)]
    with open('noise', 'wb') as file:
        file.write(b''.join(rng.choice(words) for _ in range(9000)))


def compressed(rng, size, cluster):
    """Compressed clusters of all kinds; they must be written first and whole."""
    clusters = list(range((size + cluster - 1) // cluster))
    commands = []
    for index in rng.sample(clusters, min(len(clusters), 6)):
        start = index * cluster
        length = min(cluster, size - start)
        source = rng.choice(['-s noise', '-P %d' % rng.randrange(256)])
        commands.append('write -q -c %s %d %d' % (source, start, length))
    return commands


def ordinary(rng, size, zero_clusters, n=14):
    """Writes, zeroes and discards at any sector, some across clusters."""
    commands = []
    for _ in range(n):
        start = rng.randrange(size // 512) * 512
        length = rng.choice([512, 4 * KIB, 20 * KIB, 64 * KIB, 300 * KIB])
        length = min(length, size - start)
        kind = rng.choice(['data', 'data', 'noise', 'zero', 'unmap', 'discard'])
        if kind == 'data':
            commands.append('write -q -P %d %d %d' % (rng.randrange(256), start, length))
        elif kind == 'noise':
            commands.append('write -q -s noise %d %d' % (start, length))
        elif kind == 'zero' or not zero_clusters:
            commands.append('write -q -z %d %d' % (start, length))
        elif kind == 'unmap':
            commands.append('write -q -z -u %d %d' % (start, length))
        else:
            commands.append('discard -q %d %d' % (start, length))
    # The last sector is where sizes go wrong.
    commands.append('write -q -P 77 %d 512' % (size - 512))
    return commands


def make_backing(case, rng):
    """The images below the top one; returns (name, format) or None."""
    size = case['size']
    below = None
    sizes = {'short': size // 2 // 512 * 512 + 512, 'long': size + 700 * KIB, 'equal': size}
    words = case['backing'].split()
    if words == ['none']:
        return None
    if words[-1] in sizes:
        layers = [(words[0], sizes[words[-1]])]
    else:
        layers = [(word, size + rng.choice([-1, 0, 1]) * 300 * KIB) for word in words]
    for depth, (format, layer_size) in reversed(list(enumerate(layers, 1))):
        name = 'below%d.%s' % (depth, format)
        options = 'cluster_size=%d' % rng.choice([4 * KIB, 64 * KIB]) if format == 'qcow2' else None
        create(name, layer_size, format, options, below)
        commands = []
        if format == 'qcow2' and rng.random() < 0.5:
            commands += compressed(rng, layer_size, 64 * KIB)
        qemu_io(name, commands + ordinary(rng, layer_size, True), '-f', format)
        below = (name, format)
    return below


def create_options(case):
    options = ['compat=%s' % ('0.10' if case['version'] == 2 else '1.1'), 'cluster_size=%d' % case['cluster'],
               'preallocation=%s' % case['preallocation']]
    if case['version'] == 3:
        options += ['refcount_bits=%d' % case['refcount_bits'], 'compression_type=%s' % case['compression'],
                    'extended_l2=%s' % ('on' if case['extended_l2'] else 'off'),
                    'lazy_refcounts=%s' % ('on' if case['lazy'] else 'off')]
    if case['data_file'] != 'none':
        options.append('data_file=data.raw')
    if case['data_file'] == 'raw':
        options.append('data_file_raw=on')
    return ','.join(options)


def name_of(case):
    return ' '.join('%s=%s' % (key, str(value).replace('#', '')) for key, value in case.items())
