// The server knows who is online when it renders the page, and the browser keeps it up to date.
//   ./aglow serve --allowed-origins http://localhost:3000
//   npm install && npm run dev             then open http://localhost:3000/?me=ann and /?me=ben
import { http } from '@aglow/client';
import { Friends } from './friends';
import { Presence } from './presence';

const PEOPLE = ['ann', 'ben', 'eve'];
const url = process.env.AGLOW_URL ?? 'http://127.0.0.1:8080';

export default async function Page({ searchParams }) {
    // here the address says who is signed in; your app knows it from its own sign-in
    const { me } = await searchParams;
    const records = await http({ url }).status(PEOPLE);
    const first = Object.fromEntries([...records].map(([user, { status }]) => [user, status]));
    return (
        <Presence url={url} user={me}>
            <h1>{me ? `You are ${me}` : 'Nobody is signed in'}</h1>
            <Friends users={PEOPLE} first={first} />
        </Presence>
    );
}
