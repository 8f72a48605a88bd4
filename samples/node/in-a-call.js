// A call service that shows people as "in a call":  node in-a-call.js start|end PERSON…     (AGLOW_KEY: a key with the scope "users")
// The claim has its own source. The person's own choice stays below it, and shows again when the call ends.
const url = process.env.AGLOW_URL ?? 'http://127.0.0.1:8080';
// the claim ends by itself if this service crashes; a service with longer calls sets the claim again
const LONGEST_SECONDS = 3600;

const [what, ...people] = process.argv.slice(2);
if (!['start', 'end'].includes(what) || people.length === 0) {
    console.error('usage: node in-a-call.js start|end PERSON…');
    process.exit(2);
}

const results = await Promise.allSettled(people.map(what === 'start' ? start : end));
for (const { reason } of results.filter(({ status }) => status === 'rejected'))
    console.error(reason.message);
process.exitCode = results.every(({ status }) => status === 'fulfilled') ? 0 : 1;

async function start(person) {
    const call = { status: 'busy', text: 'In a call', emoji: '📞', for_seconds: LONGEST_SECONDS, source: 'call', priority: 10 };
    await send('PUT', person, '', call);
    console.log(`${person} is in a call`);
}

async function end(person) {
    await send('DELETE', person, '?source=call');
    console.log(`${person} is not in a call`);
}

async function send(method, person, query, body) {
    const headers = { 'Content-Type': 'application/json' };
    if (process.env.AGLOW_KEY)
        headers.Authorization = `Bearer ${process.env.AGLOW_KEY}`;
    const path = `/users/${encodeURIComponent(person)}/status${query}`;
    const answer = await fetch(new URL(path, url), { method, headers, body: body && JSON.stringify(body) });
    if (!answer.ok)
        throw new Error(`${person}: ${(await answer.json()).detail}`);
}
