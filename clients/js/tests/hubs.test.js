/** samples/HubChat with the SignalR client for JavaScript: a connection to a hub makes its user online. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { HttpTransportType, HubConnectionBuilder, LogLevel } from '@microsoft/signalr';
import { ROOT, until } from './server.js';

const PROGRAM = join(ROOT, 'samples/HubChat/bin/Release/net10.0/HubChat.dll');
let app, folder, url;

before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'aglow-hubs-'));
    app = spawn('dotnet', [PROGRAM, '--urls', 'http://127.0.0.1:0', `--Aglow:DataDirectory=${folder}`, '--Aglow:HeartbeatSeconds=1']);
    let log = '';
    for (const stream of [app.stdout, app.stderr])
        stream.on('data', (text) => (log += text));
    url = await until(() => {
        assert.equal(app.exitCode, null, log);
        return /Now listening on: (\S+)/.exec(log)?.[1];
    }, 'the sample listens', 180_000);
});

after(async () => {
    app.kill('SIGKILL');
    await rm(folder, { recursive: true });
});

/** A signed-in user: their calls, and a connection to the chat. */
async function person(t, name, transport) {
    const answer = await fetch(`${url}/sign-in`, {
        method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ name, text: '' }),
    });
    const headers = { Cookie: answer.headers.get('set-cookie').split(';')[0] };
    const connection = new HubConnectionBuilder()
        .withUrl(`${url}/chat?device_kind=web`, { headers, transport }).configureLogging(LogLevel.None).build();
    const heard = [];
    connection.on('presence', (record) => heard.push(`${record.user_id} ${record.status}`));
    connection.on('line', (line) => heard.push(`${line.name}: ${line.text}`));
    t.after(() => connection.stop());
    const status = async (user) => (await (await fetch(`${url}/presence/status/${user}`, { headers })).json()).status;
    const post = (path) => fetch(`${url}${path}`, { method: 'POST', headers });
    return { connection, heard, status, post };
}

for (const transport of [HttpTransportType.WebSockets, HttpTransportType.ServerSentEvents, HttpTransportType.LongPolling]) {
    test(`Connecting is being online, and everybody hears it, over ${HttpTransportType[transport]}`, async (t) => {
        const [annsName, bobsName] = [`ann${transport}`, `bob${transport}`];
        const ann = await person(t, annsName, transport);
        const bob = await person(t, bobsName, transport);
        await ann.connection.start();
        // start() may return before the hub runs OnConnectedAsync; a call completes after that
        await ann.connection.invoke('Say', 'hello');
        await until(() => ann.heard.includes(`${annsName}: hello`));
        assert.equal(await ann.status(bobsName), 'offline');
        await bob.connection.start();
        await until(() => ann.heard.includes(`${bobsName} online`));
        assert.equal(await ann.status(bobsName), 'online');
        await bob.connection.invoke('Say', 'hello');
        await until(() => ann.heard.includes(`${bobsName}: hello`));
        await bob.connection.stop();
        await until(() => ann.heard.includes(`${bobsName} offline`));
        assert.equal(await ann.status(bobsName), 'offline');
        assert.equal(await ann.status(annsName), 'online');
        assert.ok(!ann.heard.includes(`${annsName} offline`), 'ann never went');
    });
}

test('Signing out closes the connections of every tab, and the client does not come back', async (t) => {
    const ann = await person(t, 'ann');
    const tab = await person(t, 'ann');
    const bob = await person(t, 'bob');
    const closed = [];
    for (const one of [ann, tab]) {
        one.connection.onclose(() => closed.push(one));
        await one.connection.start();
        // as above: the hub knows the connection then
        await one.connection.invoke('Say', 'hello');
    }

    await bob.connection.start();
    await bob.connection.invoke('Say', 'hello');
    await ann.post('/sign-out');
    await until(() => closed.length === 2);
    await until(() => bob.heard.includes('ann offline'));
});
