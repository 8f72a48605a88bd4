// The server's clock, and ages in words. Times are seconds since 1970-01-01 UTC.

// how far the server is ahead of this browser; small differences come from the network
let aheadSeconds = 0;

export function learnServerTime(seconds) {
    const ahead = seconds - Date.now() / 1000;
    aheadSeconds = Math.abs(ahead) > 3 ? ahead : 0;
}

export const now = () => Date.now() / 1000 + aheadSeconds;

export function ago(seconds, at = now()) {
    const age = Math.max(0, at - seconds);
    if (age < 45)
        return 'just now';
    if (age < 3600)
        return `${Math.max(1, Math.round(age / 60))} min ago`;
    if (age < 86_400)
        return `${Math.round(age / 3600)} h ago`;
    if (age < 7 * 86_400)
        return Math.round(age / 86_400) === 1 ? 'yesterday' : `${Math.round(age / 86_400)} days ago`;
    return `on ${new Date(seconds * 1000).toLocaleDateString('en', { day: 'numeric', month: 'short', year: 'numeric' })}`;
}

/** "4 s", "3 min", "2 h", "5 days", without line breaks. */
export function lasting(seconds) {
    if (seconds < 120)
        return `${Math.round(seconds)}\u00a0s`;
    if (seconds < 7200)
        return `${Math.round(seconds / 60)}\u00a0min`;
    return seconds < 172_800 ? `${Math.round(seconds / 3600)}\u00a0h` : `${Math.round(seconds / 86_400)}\u00a0days`;
}

export const timeOfDay = (seconds) =>
    new Date(seconds * 1000).toLocaleTimeString('en', { hour: '2-digit', minute: '2-digit', hour12: false });

export const clockTime = (seconds) =>
    new Date(seconds * 1000).toLocaleTimeString('en', { hour: '2-digit', minute: '2-digit', second: '2-digit', hour12: false });
