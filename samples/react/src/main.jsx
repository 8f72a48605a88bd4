import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { Friends } from './Friends.jsx';
import { Presence } from './Presence.jsx';

// here the address says who is signed in; your app knows it from its own sign-in
const me = new URLSearchParams(location.search).get('me');

createRoot(document.getElementById('root')).render(
    <StrictMode>
        <Presence user={me}>
            <h1>{me ? `You are ${me}` : 'Nobody is signed in'}</h1>
            <Friends users={['ann', 'ben', 'eve']} />
        </Presence>
    </StrictMode>,
);
