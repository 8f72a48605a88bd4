/**
 * How long to wait before try number `attempt` (from 0) to connect again. "Full jitter" (Marc Brooker, "Exponential Backoff And Jitter",
 * 2015): evenly between 0 and a ceiling that doubles. Waiting the ceiling itself, or a part of it for certain, would bring those who lost a
 * server together back together.
 */
export function backoffMs(attempt, minBackoffMs, maxBackoffMs, random = Math.random) {
    return random() * Math.min(maxBackoffMs, minBackoffMs * 2 ** attempt);
}
