/** The scenarios that all clients pass: clients/behaviour. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { run } from './scripted.js';

const FOLDER = new URL('../../behaviour/', import.meta.url);

const scenarios = readdirSync(FOLDER)
    .filter((name) => name.endsWith('.json'))
    .flatMap((name) => JSON.parse(readFileSync(new URL(name, FOLDER), 'utf8')));

for (const scenario of scenarios.filter(({ only = 'js' }) => only === 'js'))
    test(scenario.name, () => run(scenario));

test('There are at least sixty scenarios, each with a name of its own', () => {
    assert.ok(scenarios.length >= 60, `${scenarios.length} scenarios`);
    assert.equal(new Set(scenarios.map(({ name }) => name)).size, scenarios.length);
});
