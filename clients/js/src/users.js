/**
 * Who is meant, checked before it is sent: the server refuses a whole list for one bad user, and says so too late for a stack trace to help.
 */

const MAX_NUMBER = 0xFFFF_FFFF;
const MAX_KEY_BYTES = 128;
const encoder = new TextEncoder();

/** The bytes of a text in UTF-8. */
export const bytesOf = (text) => encoder.encode(text).length;

/** One user or any iterable of them as a list, each once, in the order given; throws TypeError for what is not a user. */
export function listOf(users) {
    const list = typeof users === 'object' && users?.[Symbol.iterator] ? [...new Set(users)] : [users];
    list.forEach(check);
    return list;
}

function check(user) {
    if (typeof user === 'number') {
        if (!Number.isInteger(user) || user < 0 || user > MAX_NUMBER)
            throw new TypeError(`${user} is not a user: a number is an integer from 0 to ${MAX_NUMBER}. Give longer ones as text.`);
    } else if (typeof user !== 'string') {
        throw new TypeError(`A user is a number or text, not ${user === null ? 'null' : typeof user}. Give a bigint as text.`);
    } else if (user === '' || bytesOf(user) > MAX_KEY_BYTES) {
        throw new TypeError(`${user ? `"${user.slice(0, 20)}…"` : 'An empty text'} is not a user: text is 1 to ${MAX_KEY_BYTES} bytes.`);
    } else if (/[\p{Cc}\p{Cs}]/u.test(user)) {
        throw new TypeError(`${JSON.stringify(user)} is not a user: text holds no control characters and no halves of surrogate pairs.`);
    }
}

/** The name of a definition as messages carry it: nothing for the default, whichever way that was asked for. */
export function definitionOf({ definition } = {}) {
    if (definition !== undefined && (typeof definition !== 'string' || definition === ''))
        throw new TypeError('"definition" is the name of one, as text; leave it out for the default.');
    return definition === 'chat' ? undefined : definition;
}
