// Calls besides presence: users, follows, visibility, explanations, counts, and the crowd's packed heartbeats.
import { headers, signIn } from './session.js';

/** A call that was refused or did not arrive. The message says what to do. */
export class Refused extends Error {
    constructor(status, detail) {
        super(detail);
        this.status = status;
    }
}

// the ID is in the query, because some IDs cannot be in a path
export const findUser = (user) => call('GET', `/users?user=${encodeURIComponent(user)}`);
export const createUser = (profile) => call('POST', '/users', profile);
export const rename = (user, names) => call('PATCH', `/users?user=${encodeURIComponent(user)}`, names);
export const revoke = (user) => call('POST', of(user, 'revoke'));
export const explain = (user) => call('GET', `/status/-/explain?user=${encodeURIComponent(user)}`);
export const listWebhooks = () => call('GET', '/webhooks');
export const webhookLog = (id) => call('GET', `/webhooks/${encodeURIComponent(id)}/log`);
export const countOnline = () => call('GET', '/online/count');

export function searchUsers(query, limit, cursor) {
    const parameters = new URLSearchParams({ q: query, limit });
    if (cursor)
        parameters.set('cursor', cursor);
    return call('GET', `/users?${parameters}`);
}

export const followed = async (user) => (await call('GET', subscriptions(user))).user_ids;
export const follow = async (user, other) => (await call('POST', subscriptions(user), { user_ids: [other] })).user_ids;
export const unfollow = async (user, other) => (await call('DELETE', subscriptions(user), { user_ids: [other] })).user_ids;

export const visibility = (user) => call('GET', of(user, 'visibility'));
export const setVisibility = (user, change) => call('PUT', of(user, 'visibility'), change);
export const waiting = (user, limit) => call('GET', `${of(user, 'waiting')}&limit=${limit}`);
export const blocked = async (user) => (await call('GET', of(user, 'blocked'))).user_ids;
export const approve = (user, other) => call('POST', of(user, 'approved'), { user_ids: [other] });
export const block = (user, other) => call('POST', of(user, 'blocked'), { user_ids: [other] });
export const unblock = (user, other) => call('DELETE', of(user, 'blocked'), { user_ids: [other] });

/** The sum of users who came online, left or expired. */
export async function countChanges() {
    const text = await call('GET', '/metrics');
    let sum = 0;
    for (const [, value] of text.matchAll(/^aglow_(?:heartbeats_arrivals|goodbyes|sweep_lapses)_total (\d+)$/gm))
        sum += Number(value);
    return sum;
}

/** Sends heartbeats of these users; returns how many the server accepted. */
export const heartbeatPacked = async (numbers) => (await call('POST', '/heartbeat', pack(numbers))).accepted;

export const leavePacked = (numbers) => call('POST', '/offline', pack(numbers));

/** Sends leaves of these users from a page that is closing. */
export const leaveAtLast = (numbers) =>
    fetch(
        '/offline',
        { method: 'POST', keepalive: true, body: pack(numbers), headers: { ...headers(), 'Content-Type': 'application/octet-stream' } })
        .catch(() => {});

const of = (user, what) => `/users/-/${what}?user=${encodeURIComponent(user)}`;
const subscriptions = (user) => of(user, 'subscriptions');

// little-endian 32-bit numbers
function pack(numbers) {
    const bytes = new DataView(new ArrayBuffer(numbers.length * 4));
    numbers.forEach((number, i) => bytes.setUint32(i * 4, number, true));
    return bytes.buffer;
}

async function call(method, path, body) {
    const request = { method, headers: headers() };
    if (body instanceof ArrayBuffer)
        Object.assign(request, { body, headers: { ...headers(), 'Content-Type': 'application/octet-stream' } });
    else if (body)
        Object.assign(request, { body: JSON.stringify(body), headers: { ...headers(), 'Content-Type': 'application/json' } });
    let answer;
    try {
        answer = await fetch(path, request);
    } catch {
        throw new Refused(0, 'The server does not answer. Try again when it is back.');
    }

    // repeats the call after the person has signed in
    if (answer.status === 401) {
        await signIn();
        return call(method, path, body);
    }

    const type = answer.headers.get('Content-Type') ?? '';
    const content = await (type.includes('json') ? answer.json() : answer.text()).catch(() => ({}));
    if (!answer.ok)
        throw new Refused(answer.status, content.detail ?? `The server answered ${answer.status}.`);
    return content;
}
