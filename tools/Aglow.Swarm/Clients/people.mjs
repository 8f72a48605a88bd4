// People with the JavaScript client, for ./aglow swarm --clients. Commands come in, and the clients' events go out, as lines of JSON.
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

const { connect } = await import(pathToFileURL(process.argv[2]).href);
const connections = new Map();
const say = (client, what) => process.stdout.write(`${JSON.stringify({ client, ...what })}\n`);

const commands = {
    connect({ client, url, user, users }) {
        const connection = connect({ url, user, device: { id: 'node', kind: 'web' }, reportActivity: false });
        connections.set(client, connection);
        connection.onState((state) => say(client, { state }));
        connection.onError(() => {});
        connection.watch(users, (record) => say(client, { record }));
    },
    async leave({ client }) {
        say(client, { left: await connections.get(client).leave() });
    },
    close({ client }) {
        connections.get(client)?.close();
        connections.delete(client);
    },
};

for await (const line of createInterface({ input: process.stdin })) {
    const command = JSON.parse(line);
    commands[command.do](command);
}
process.exit();
