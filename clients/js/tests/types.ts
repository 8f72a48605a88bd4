/** Compiled, never run: how programs may and may not use the types. */
import {
    AglowError, backoffMs, connect, http,
    type Connection, type LeaveOutcome, type PresenceRecord, type Problem, type Status, type StatusOutcome, type UserId, type Watch,
} from '@aglow/client';
import { PresenceProvider, usePresence } from '@aglow/client/react';
import { shareTabs } from '@aglow/client/tabs';
import { createElement } from 'react';

const connection: Connection = connect({ url: new URL('https://presence.example'), user: 'ann', minBackoffMs: 500 });
connect({ token: async () => 'a token', WebSocket, fetch, reportActivity: false });
connect({ token: 'a token', tokenInUrl: true });
connect({ url: ['https://one.example', new URL('https://two.example')] as const, user: 1 });
connect({ user: 1, device: { id: 'phone-7', kind: 'mobile' }, WebSocket: shareTabs('ann') });
connect({ user: 1, appState: { addEventListener: (event, callback) => ({ remove: () => callback(event) }) } });
// @ts-expect-error: a token is text
connect({ token: async () => null });

const watch: Watch = connection.watch([1, 'bob'], (record, previous) => {
    const status: Status = record.status;
    const before: Status | undefined = previous?.status;
    // @ts-expect-error: records are never changed in place
    record.status = status ?? before;
});
connection.watch(1, { definition: 'reachable' });
connection.watch(new Set(['bob']), undefined, { definition: 'reachable' });
// @ts-expect-error: a bigint is given as text
connection.watch(1n);
// @ts-expect-error: the previous record is undefined the first time
connection.watch(1, (record, previous) => previous.status);

const stop: () => void = connection.onState((state) => state === 'stale');
connection.onPresence((record, previous, definition) => definition?.length);
connection.onError(({ title, detail }) => `${title}: ${detail}`);
const saved: Promise<StatusOutcome> = connection.setStatus('busy', { text: 'Lunch', emoji: '🍜', for_seconds: 60 });
const text: string | undefined = connection.watch(1).records.get(1)?.text;
const reason: Problem | undefined = connection.reason;
void [saved, reason, text];
connection.resume();
connection.refresh();
// @ts-expect-error: no such member
connection.setStatus('busy', { expires: 5 });
// @ts-expect-error: nobody can choose unknown
connection.setStatus('unknown');
// @ts-expect-error: the state is read-only
connection.state = 'open';

export async function all(): Promise<void> {
    for await (const record of watch) {
        // @ts-expect-error: is_online may be null
        const isOnline: boolean = record.is_online;
        void isOnline;
    }

    const records: Map<UserId, PresenceRecord> = await connection.status([1, 2], { definition: 'active' });
    const { statusOf, heartbeat } = http({ url: 'https://presence.example', user: 42 });
    const seconds: number = (await heartbeat()).next_heartbeat_seconds;
    try {
        await statusOf(records.size + seconds + backoffMs(0, 1000, 30_000));
    } catch (error) {
        if (error instanceof AglowError)
            await new Promise((resolve) => setTimeout(resolve, 1000 * (error.retryAfterSeconds ?? 1)));
    }

    stop();
    const left: LeaveOutcome = await connection.leave();
    void left;
}

export function Friends({ users }: { users: UserId[] }) {
    const friends = usePresence(users, { definition: 'active' });
    const bob: PresenceRecord = usePresence('bob');
    const nobody: PresenceRecord = usePresence(undefined);
    const some = usePresence(['ann', undefined, null]);
    void [nobody, some.get(null)];
    // @ts-expect-error: one user gives one record
    bob.size;
    return createElement(PresenceProvider, { connection: null }, `${friends.get('bob')?.status} ${bob.status}`);
}
