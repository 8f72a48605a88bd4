// Presence records and people in words.
import { ago, timeOfDay } from './time.js';

const STATUSES = { online: 'Online', away: 'Away', busy: 'Busy' };

/** The line under a name: "Busy · 📞 In a call · until 15:30", "Last seen 3 min ago", "Unknown". */
export function seenWords({ status, last_seen, last_seen_about, text, emoji, until }) {
    if (STATUSES[status]) {
        const chosen = [emoji, text].filter(Boolean).join(' ');
        return [STATUSES[status], chosen, until && `until ${timeOfDay(until)}`].filter(Boolean).join(' · ');
    }

    if (status === 'unknown')
        return last_seen ? `Unknown, seen ${ago(last_seen)}` : 'Unknown';
    if (last_seen_about)
        return `Last seen ${last_seen_about}`;
    return last_seen ? `Last seen ${ago(last_seen)}` : 'Never seen';
}

const DEVICES = { desktop: 'desktop', mobile: 'phone', web: 'browser', other: 'another device' };

/** The devices on which a user is online: "desktop, phone". */
export const devicesWords = ({ devices = [] }) => devices.map((kind) => DEVICES[kind] ?? kind).join(', ');

/** The name to show: the display name, else the user name, else the ID. */
export const nameOf = ({ display_name, user_name, user_id }) =>
    display_name ?? user_name ?? (typeof user_id === 'number' ? `Number ${user_id}` : user_id);

/** One or two letters, shown in place of a picture. */
export function initialsOf(name) {
    const words = name.match(/[\p{L}\p{N}]+/gu) ?? ['?'];
    const last = words.length > 1 ? [...words.at(-1)][0] : '';
    return ([...words[0]][0] + last).toUpperCase();
}

/** A hue that is always the same for a name. */
export function hueOf(name) {
    let hash = 0;
    for (const letter of name)
        hash = (hash * 31 + letter.codePointAt(0)) % 3600;
    return hash / 10;
}

export const count = (number, one, many) => `${number.toLocaleString('en')} ${number === 1 ? one : many}`;
