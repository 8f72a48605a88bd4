/** The ID of this device. A leave names it, so a leave never takes the user's other devices offline. */
import { bytesOf, mistakeIn } from './users.js';

const KEPT_AS = 'aglow.device';
const KINDS = ['desktop', 'mobile', 'web', 'other'];
const MAX_ID_BYTES = 64;

let ofThisProgram;

function randomId() {
    // randomUUID is missing on pages that were not loaded over https
    return globalThis.crypto?.randomUUID?.() ?? `${Math.random()}${Math.random()}`;
}

// A browser stores one ID for all of its tabs and visits. Elsewhere, and where storage is forbidden, each program start is a new device.
function rememberedId() {
    try {
        const storage = globalThis.document && globalThis.localStorage; // Node prints a warning when it is read
        const kept = storage.getItem(KEPT_AS) ?? ofThisProgram ?? randomId();
        storage.setItem(KEPT_AS, kept);
        return kept;
    } catch {
        return (ofThisProgram ??= randomId());
    }
}

function kindOf() {
    if (globalThis.navigator?.product === 'ReactNative')
        return 'mobile';
    return globalThis.document ? 'web' : 'other';
}

/** This device as messages name it; the options take precedence. */
export function deviceOf(device) {
    const { id = rememberedId(), kind = kindOf() } = device ?? {};
    // the server rejects all others
    if (!(bytesOf(id) <= MAX_ID_BYTES) || mistakeIn(id) || !KINDS.includes(kind))
        throw new TypeError(`"device" is { id, kind }: an "id" of 1 to ${MAX_ID_BYTES} bytes, and a "kind" of ${KINDS.join(', ')}.`);
    return { id, kind };
}
