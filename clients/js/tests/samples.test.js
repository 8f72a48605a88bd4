/** The samples that need no compiler, run as their readers run them. */
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { http } from '@aglow/client';
import { AglowServer, ROOT, until } from './server.js';

const SAMPLES = join(ROOT, 'samples');
let server;
before(async () => (server = await AglowServer.start()));
after(() => server.dispose());

/** Runs the Node sample; `output` is what it has printed so far. */
function dots(t, ...people) {
    const program = spawn(process.execPath, ['--experimental-websocket', join(SAMPLES, 'node/dots.js'), ...people], {
        env: { ...process.env, AGLOW_URL: server.url, NODE_NO_WARNINGS: '1' },
    });
    t.after(() => program.kill());
    program.output = '';
    for (const stream of [program.stdout, program.stderr])
        stream.on('data', (text) => (program.output += text));
    return program;
}

test('The Node sample shows friends come, choose a status, and go', async (t) => {
    const ann = dots(t, 'ann', 'bob', 'eve');
    await until(() => ann.output.includes('⚪ bob offline') && ann.output.includes('⚪ eve offline'));
    const bob = dots(t, 'bob', 'ann');
    await until(() => ann.output.includes('🟢 bob online') && bob.output.includes('🟢 ann online'));
    bob.stdin.write('busy\n');
    await until(() => ann.output.includes('🔴 bob busy'));
    bob.stdin.write('asleep\n');
    await until(() => bob.output.includes('"asleep" is not a status to choose'));
    bob.kill('SIGINT');
    const [code] = await once(bob, 'exit');
    assert.equal(code, 0);
    await until(() => /⚪ bob offline, last seen /.test(ann.output));
});

test('The Node sample says how it is used', async (t) => {
    const program = dots(t, 'ann');
    // when all of its output is there
    const [code] = await once(program, 'close');
    assert.deepEqual([code, program.output], [2, 'usage: node dots.js ME FRIEND…\n']);
});

test('A call shows people as in a call, and what they chose when it ends', async (t) => {
    const people = http({ url: server.url });
    const call = (...words) => promisify(execFile)(
        process.execPath, [join(SAMPLES, 'node/in-a-call.js'), ...words], { env: { ...process.env, AGLOW_URL: server.url } });
    const eve = dots(t, 'eve 2', 'nobody');
    await until(() => eve.output.includes('open'));
    eve.stdin.write('away\n');
    await until(async () => (await people.statusOf('eve 2')).status === 'away');
    assert.equal((await call('start', 'eve 2', 'zoe')).stdout.split('\n').sort().join(), ',eve 2 is in a call,zoe is in a call');
    const record = await people.statusOf('eve 2');
    assert.deepEqual([record.status, record.text, record.emoji], ['busy', 'In a call', '📞']);
    assert.ok(record.until > Date.now() / 1000 + 3000);
    await call('end', 'eve 2', 'zoe');
    assert.equal((await people.statusOf('eve 2')).status, 'away');
    await assert.rejects(call('start', 'a\u0001b'), { code: 1, stderr: /^a.b: The path or query has no valid user/ });
    await assert.rejects(call('pause', 'eve'), { code: 2, stderr: 'usage: node in-a-call.js start|end PERSON…\n' });
});

test('The Node sample is thirty lines', () => {
    assert.ok(readFileSync(join(SAMPLES, 'node/dots.js'), 'utf8').trimEnd().split('\n').length <= 30);
});

test('The calls of curl.sh work, and again', async () => {
    for (let run = 0; run < 2; run++) {
        const { stdout, stderr } = await promisify(execFile)(
            'bash', ['-e', join(SAMPLES, 'curl.sh')], { env: { ...process.env, AGLOW_URL: server.url } });
        assert.equal(stderr, '');
        const answers = stdout.split('\n');
        assert.equal(answers.filter((line) => line.startsWith('{"status":"success"')).length, 2);
        // the stream: first both statuses, then 42's leave
        const events = answers.filter((line) => line.startsWith('data: ')).map((line) => JSON.parse(line.slice(6)).users);
        assert.deepEqual(events[0].map((record) => [record.user_id, record.is_online]), [[42, true], ['bob', true]]);
        assert.deepEqual(events.at(-1).map((record) => [record.user_id, record.status]), [[42, 'offline']]);
    }
});

test('The calls of aglow.http work, in their order', async () => {
    const requests = readFileSync(join(SAMPLES, 'aglow.http'), 'utf8').split(/^### /m).slice(1);
    assert.ok(requests.length >= 20);
    for (const request of requests) {
        const [, title, method, path, head, body] = /^(.*)\n([A-Z]+) \{\{aglow\}\}(\S+)\n((?:[\w-]+: .*\n)*)\n?([^]*)$/.exec(
            `${request.trimEnd()}\n`);
        const headers = Object.fromEntries(head.split('\n').filter(Boolean).map((line) => line.split(': ')));
        const stop = new AbortController();
        const response = await fetch(new URL(path, server.url), { method, headers, body: body || undefined, signal: stop.signal });
        assert.ok(response.ok, `${title}: ${response.status}`);
        stop.abort();
    }

    assert.equal((await http({ url: server.url }).statusOf(42)).status, 'offline');
});
