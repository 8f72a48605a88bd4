// A receiver of webhooks: a message for somebody who is offline becomes a push.
//   npm install && WEBHOOK_SECRET=whsec_… PORT=3000 node receiver.js
//   ./aglow webhooks add --url http://127.0.0.1:3000/presence --events online,offline      prints the secret
//   curl -d 'Lunch?' http://127.0.0.1:3000/messages/bob
import { createServer } from 'node:http';
import { Webhook } from 'standardwebhooks';

const MAX_BODY = 1 << 20;
// events may come twice: as many IDs as a day's retries may bring again
const MAX_HANDLED = 100_000;

const webhook = new Webhook(process.env.WEBHOOK_SECRET);
// keep both in your database: they are lost with this process
const online = new Set();
const handled = new Set();

// Replace this by your push service.
async function push(user, text) {
    console.log(`push to ${user}: ${text}`);
}

function apply(event) {
    if (handled.has(event.id))
        return;
    handled.add(event.id);
    if (handled.size > MAX_HANDLED)
        handled.delete(handled.values().next().value);
    // the events of one user come in order, so the newest is the user's state
    if (event.type === 'aglow.presence.online')
        online.add(event.subject);
    else if (event.type === 'aglow.presence.offline')
        online.delete(event.subject);
    else if (event.type === 'aglow.presence.gap')
        console.log('changes were lost: read GET /online again');
    if (event.subject)
        console.log(`${event.subject} is ${event.data.status}`);
}

async function read(request) {
    const chunks = [];
    let length = 0;
    for await (const chunk of request) {
        length += chunk.length;
        if (length > MAX_BODY)
            throw new Error('the body is too long');
        chunks.push(chunk);
    }
    return Buffer.concat(chunks).toString();
}

async function receive(request, body) {
    if (request.url === '/presence') {
        // throws where the signature or the timestamp is wrong
        for (const event of webhook.verify(body, request.headers))
            apply(event);
        return;
    }
    const user = decodeURIComponent(request.url.slice('/messages/'.length));
    if (!online.has(user))
        await push(user, body);
}

const server = createServer(async (request, response) => {
    try {
        await receive(request, await read(request));
        response.writeHead(204).end();
    } catch (error) {
        console.error(error.message);
        response.writeHead(400).end();
    }
});
server.listen(process.env.PORT ?? 3000, '127.0.0.1', () => console.log(`Now listening on: http://127.0.0.1:${server.address().port}`));
