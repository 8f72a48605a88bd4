import { usePresence } from '@aglow/client/react';

const COLORS = { online: '#1e9e5a', away: '#c27a00', busy: '#d23f3f', offline: '#8b867c', unknown: '#ddd' };

export function Friends({ users }) {
    const records = usePresence(users);
    return (
        <ul>
            {[...records.values()].map(({ user_id, status }) => (
                <li key={user_id} data-status={status}>
                    <span style={{ color: COLORS[status] }}>●</span> {user_id} <small>{status}</small>
                </li>
            ))}
        </ul>
    );
}
