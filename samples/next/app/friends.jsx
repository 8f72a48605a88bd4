'use client';

import { usePresence } from '@aglow/client/react';

const COLORS = { online: '#1e9e5a', away: '#c27a00', busy: '#d23f3f', offline: '#8b867c' };

/** Until the browser is connected, everybody is shown as the server saw them. */
export function Friends({ users, first }) {
    const records = usePresence(users);
    return (
        <ul>
            {users.map((user) => {
                const heard = records.get(user)?.status;
                const status = heard && heard !== 'unknown' ? heard : first[user];
                return <li key={user} data-status={status}><span style={{ color: COLORS[status] }}>●</span> {user}</li>;
            })}
        </ul>
    );
}
