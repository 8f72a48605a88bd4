// A backend in Express: it signs people in, and makes the tokens with which their pages connect to Aglow.
//   export AGLOW_JWT_SECRET=$(openssl rand -base64 32)
//   ./aglow serve --auth token --allowed-origins http://127.0.0.1:3000
//   npm install && node server.js          then open http://127.0.0.1:3000 in two windows
import { randomUUID } from 'node:crypto';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { http } from '@aglow/client';
import express from 'express';
import { SignJWT } from 'jose';

const aglow = process.env.AGLOW_URL ?? 'http://127.0.0.1:8080';
const secret = Buffer.from(process.env.AGLOW_JWT_SECRET, 'base64');
const port = process.env.PORT ?? 3000;

// keep sessions in your database: they are lost with this process
const sessions = new Map();
const people = new Set();

const tokenOf = (name) => new SignJWT()
    .setProtectedHeader({ alg: 'HS256' }).setSubject(name).setIssuedAt().setExpirationTime('15m').sign(secret);

const app = express();
app.use(express.json(), express.static(fileURLToPath(new URL('public', import.meta.url))));
// the page imports the client from here; an app with a bundler imports '@aglow/client' instead
app.use('/client', express.static(dirname(fileURLToPath(import.meta.resolve('@aglow/client')))));

// accepts every name; a real app asks for a password
app.post('/sign-in', (request, response) => {
    const session = randomUUID();
    sessions.set(session, request.body.name);
    people.add(request.body.name);
    response.cookie('session', session, { httpOnly: true, sameSite: 'strict' }).sendStatus(204);
});

// what follows is for people who are signed in
app.use((request, response, next) => {
    const session = /(?:^|; )session=([^;]+)/.exec(request.headers.cookie ?? '')?.[1];
    response.locals = { session, me: sessions.get(session) };
    if (response.locals.me)
        next();
    else
        response.sendStatus(401);
});

app.get('/token', async (_, response) => response.json({ url: aglow, token: await tokenOf(response.locals.me) }));

// a page that is rendered here needs no socket to know who is online
app.get('/people', async (_, response) => {
    const records = await http({ url: aglow, token: await tokenOf(response.locals.me) }).status([...people]);
    response.json([...records.values()].map(({ user_id, status }) => ({ user_id, status })));
});

// ends the session here, and with it every socket and token of this person
app.post('/sign-out', async (_, response) => {
    const { session, me } = response.locals;
    sessions.delete(session);
    const headers = { Authorization: `Bearer ${await tokenOf(me)}` };
    const { status } = await fetch(new URL(`/users/${encodeURIComponent(me)}/revoke`, aglow), { method: 'POST', headers });
    response.sendStatus(status);
});

app.listen(port, '127.0.0.1', () => console.log(`Now listening on: http://127.0.0.1:${port}`));
