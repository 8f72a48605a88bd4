// Comes online, watches itself, chooses a status, leaves. Prints what it saw.
import { connect } from '../../src/index.js';

const url = globalThis.Deno?.args[0] ?? process.argv[2];
const connection = connect({ url, user: 'me' });
const seen = [];
for await (const { status } of connection.watch('me')) {
    if (seen.at(-1) === status)
        continue;
    seen.push(status);
    if (status === 'online')
        seen.push(await connection.setStatus('busy'));
    if (status === 'busy')
        break;
}

connection.resume();
seen.push((await connection.statusOf('me')).status, await connection.leave(), (await connection.statusOf('me')).status);
console.log(seen.join(' '));
