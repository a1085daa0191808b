// SPDX-FileCopyrightText: The imago-glib authors
// SPDX-License-Identifier: LGPL-2.1-or-later

// A test runner that speaks TAP, for tests written in JavaScript. An exception in a callback that a C
// library called is only logged by GJS: wrap such callbacks in guard ().

import System from 'system';

const tests = [];
const background = [];

export function test(name, run) {
    tests.push({name, run});
}

// The text that two values are compared by.
function show(value) {
    try {
        return JSON.stringify(value) ?? String(value);
    } catch {
        return String(value);
    }
}

function brief(value) {
    const text = show(value);
    return text.length > 2000 ? `${text.slice(0, 2000)}...` : text;
}

// Whole disks are compared too: as text they would take seconds, and a hundred times their size.
function same(a, b) {
    if (a instanceof Uint8Array && b instanceof Uint8Array)
        return a.length === b.length && a.every((byte, index) => byte === b[index]);
    return a === b || show(a) === show(b);
}

export function equal(got, wanted, what = '') {
    if (!same(got, wanted))
        throw new Error(`${what ? `${what}: ` : ''}got ${brief(got)}, wanted ${brief(wanted)}`);
}

export function truth(condition, what = 'condition') {
    if (!condition)
        throw new Error(`not true: ${what}`);
}

export function raises(run) {
    let result;
    try {
        result = run();
    } catch (error) {
        return error;
    }
    throw new Error(`returned ${brief(result)} instead of throwing`);
}

// A callback whose exception fails the test; @fallback is what it returns then.
export function guard(callback, fallback = undefined) {
    return (...args) => {
        try {
            return callback(...args);
        } catch (error) {
            background.push(error);
            return fallback;
        }
    };
}

function comment(error) {
    for (const line of `${error}\n${error.stack ?? ''}`.trimEnd().split('\n'))
        print(`# ${line}`);
}

export function main() {
    let failures = 0;
    print('TAP version 13');
    print(`1..${tests.length}`);
    tests.forEach(({name, run}, index) => {
        let verdict = 'ok';
        background.length = 0;
        try {
            run();
        } catch (error) {
            verdict = 'not ok';
            comment(error);
        }
        for (const error of background) {
            verdict = 'not ok';
            print('# an exception in a callback:');
            comment(error);
        }
        if (verdict !== 'ok')
            failures++;
        print(`${verdict} ${index + 1} ${name}`);
    });
    System.exit(failures ? 1 : 0);
}
