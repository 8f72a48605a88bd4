using Aglow.Swarm.Claims;

namespace Aglow.Swarm;

/// <summary>How a session on a device ends.</summary>
internal enum Ending : byte
{
    /// <summary>The device leaves: <c>leave</c> on a socket, <c>POST /offline</c> over HTTP.</summary>
    Leave,

    /// <summary>The tab is closed: the connection closes normally, without a leave.</summary>
    Close,

    /// <summary>The device dies: it sends nothing more, not even the end of the connection.</summary>
    Crash,
}

/// <summary>
/// A time without a network, in seconds of the run. The device returns at another node if <paramref name="Node"/> differs.
/// </summary>
internal sealed record Outage(double At, double Seconds, int Node);

/// <summary>The plan of one device in one session, in seconds of the run.</summary>
/// <param name="Number">The number of the person's device.</param>
/// <param name="IsSocket">Whether it uses a socket; else it sends heartbeats over HTTP.</param>
/// <param name="IsBackground">Whether it is a background tab, which only answers pings.</param>
/// <param name="Node">The number of the first address.</param>
/// <param name="StartAt">When it connects.</param>
/// <param name="EndAt">When it ends.</param>
/// <param name="Ending">How it ends.</param>
/// <param name="Outages">Outages and moves to other nodes, in order.</param>
/// <param name="ActiveAt">When the person does something.</param>
internal sealed record DeviceSession(
    int Number, bool IsSocket, bool IsBackground, int Node, double StartAt, double EndAt, Ending Ending, IReadOnlyList<Outage> Outages,
    IReadOnlyList<double> ActiveAt);

/// <summary>The kinds of changes of an account.</summary>
internal enum AccountChangeKind : byte
{
    /// <summary>The user gets another user name.</summary>
    Rename,

    /// <summary>The user is signed out everywhere, and may connect again at once.</summary>
    Revoke,

    /// <summary>The user is deleted, and may come back as a new user.</summary>
    Delete,
}

/// <summary>A change of an account, in seconds of the run.</summary>
internal sealed record AccountChange(double At, AccountChangeKind Kind, int Node);

/// <summary>
/// The plan of one person: the users whom they follow, their sessions in order (the devices of a session overlap), and changes of their
/// account and of their claims.
/// </summary>
internal sealed record PersonPlan(
    int Person, IReadOnlyList<int> Follows, IReadOnlyList<IReadOnlyList<DeviceSession>> Sessions, IReadOnlyList<AccountChange> Changes,
    IReadOnlyList<ClaimChange> Claims);

/// <summary>
/// The plan of all people. It is drawn before the run from one seed, so the same seed gives the same plan. The server's answers do not
/// change it.
/// </summary>
/// <remarks>
/// Session lengths are log-normal (many short, few long); pauses are exponential. At busy hours sessions are longer and pauses shorter: a
/// run is one day, quiet at both ends. Over half of the devices use sockets, if there are enough descriptors. Followed users are drawn by a
/// power of their rank, so the first users have the most followers.
/// </remarks>
internal static class Plan
{
    /// <summary>The most sockets: a process usually has 20,000 descriptors, and HTTP needs some.</summary>
    public const int MaxSockets = 16_000;

    private const double MedianSession = 40;
    private const double MeanPause = 25;
    private const double MeanThink = 12;
    private const int MaxFollows = 30;
    private const double MeanUntilChange = 60;
    // a change ends before the next one begins
    private const double BetweenChanges = 15;

    /// <summary>Draws the plans of all people.</summary>
    /// <param name="people">The number of people.</param>
    /// <param name="seconds">The length of the run.</param>
    /// <param name="nodes">The number of addresses.</param>
    /// <param name="seed">The seed.</param>
    /// <param name="stays">Whether a quiet time follows: people who are online at the end stay, and nothing else begins.</param>
    public static PersonPlan[] Draw(int people, double seconds, int nodes, int seed, bool stays = false)
    {
        var all = new PersonPlan[people];
        var sockets = 0;
        for (var person = 0; person < people; person++)
        {
            // each person has a separate random stream, so a person does the same in a crowd of any size
            var random = new Random(unchecked((seed * 1_000_003) + person));
            var devices = 1 + (random.NextDouble() < 0.3 ? 1 : 0) + (random.NextDouble() < 0.08 ? 1 : 0);
            var isSocket = new bool[devices];
            for (var device = 0; device < devices; device++)
            {
                isSocket[device] = random.NextDouble() < 0.6 && sockets < MaxSockets;
                sockets += isSocket[device] ? 1 : 0;
            }

            var follows = DrawFollows(random, person, people);
            var sessions = DrawSessions(random, isSocket, seconds, nodes);
            if (stays)
                sessions = [.. sessions.Select(session => (IReadOnlyList<DeviceSession>)[.. Staying(session, seconds)])];
            // claims have a stream of their own, so that the other plans stay the same
            var claims = ClaimChange.Draw(new Random(unchecked((seed * 1_000_003) + person + int.MaxValue)), seconds, nodes);
            all[person] = new PersonPlan(person, follows, sessions, DrawChanges(random, seconds, nodes), claims);
        }

        return all;
    }

    /// <summary>How busy a time of the run is: 0.15 at night, 1 at the peak.</summary>
    public static double DayCurve(double at, double seconds)
    {
        var day = Math.Sin(Math.PI * Math.Clamp(at / seconds, 0, 1));
        return 0.15 + (0.85 * day * day);
    }

    private static int[] DrawFollows(Random random, int person, int people)
    {
        var follows = new HashSet<int>();
        var count = Math.Min(people - 1, (int)Math.Min(MaxFollows, Exponential(random, 10)) + 1);
        for (var tries = 0; follows.Count < count && tries < 10 * MaxFollows; tries++)
        {
            var whom = (int)(people * Math.Pow(random.NextDouble(), 3));
            if (whom != person)
                follows.Add(whom);
        }

        return [.. follows.Order()];
    }

    private static List<IReadOnlyList<DeviceSession>> DrawSessions(Random random, bool[] isSocket, double seconds, int nodes)
    {
        var sessions = new List<IReadOnlyList<DeviceSession>>();
        // some are online at the beginning, or soon after
        var at = random.NextDouble() < 0.3
            ? random.NextDouble() * Math.Min(10, seconds / 4)
            : Exponential(random, MeanPause) / DayCurve(0, seconds);
        while (at < seconds)
        {
            var length = Math.Clamp(MedianSession * Math.Exp(Normal(random)) * (0.4 + (0.6 * DayCurve(at, seconds))), 3, 3600);
            var devices = new List<DeviceSession>();
            for (var device = 0; device < isSocket.Length; device++)
            {
                // the first device is online for the whole session, the others for a part of it
                var start = device == 0 ? at : at + (random.NextDouble() * length * 0.7);
                var end = device == 0 ? at + length : start + (random.NextDouble() * (at + length - start));
                if (device == 0 || random.NextDouble() < 0.7)
                    devices.Add(DrawDevice(random, device, isSocket[device], start, end, nodes));
            }

            sessions.Add(devices);
            at += length + (Exponential(random, MeanPause) / DayCurve(at + length, seconds));
        }

        return sessions;
    }

    private static IEnumerable<DeviceSession> Staying(IReadOnlyList<DeviceSession> session, double seconds) =>
        session.Where(device => device.StartAt < seconds).Select(device => device.EndAt < seconds ? device : device with
        {
            EndAt = double.PositiveInfinity,
            ActiveAt = [.. device.ActiveAt.Where(at => at < seconds)],
            Outages = [.. device.Outages.Where(o => o.At < seconds).Select(
                o => o with { Seconds = Math.Min(o.Seconds, seconds - o.At) })],
        });

    private static List<AccountChange> DrawChanges(Random random, double seconds, int nodes)
    {
        var changes = new List<AccountChange>();
        for (var at = Exponential(random, MeanUntilChange); at < seconds; at += BetweenChanges + Exponential(random, MeanUntilChange))
            changes.Add(new AccountChange(at, (AccountChangeKind)random.Next(3), random.Next(nodes)));
        return changes;
    }

    private static DeviceSession DrawDevice(Random random, int number, bool isSocket, double start, double end, int nodes)
    {
        var isBackground = random.NextDouble() < 0.25;
        var isMobile = random.NextDouble() < 0.4;
        var node = random.Next(nodes);
        var outages = new List<Outage>();
        for (var at = start + Exponential(random, 30); isMobile && at < end; at += Exponential(random, 60))
        {
            var moves = random.NextDouble() < 0.5;
            var outage = new Outage(at, 5 + (random.NextDouble() * random.NextDouble() * 55), moves ? random.Next(nodes) : node);
            outages.Add(outage);
            at += outage.Seconds;
        }

        // a person at a desk also moves to another node when their node stops, almost without an outage
        if (!isMobile && random.NextDouble() < 0.15)
            outages.Add(new Outage(start + (random.NextDouble() * (end - start)), 0.2, random.Next(nodes)));
        var active = new List<double>();
        for (var at = start + Exponential(random, MeanThink); !isBackground && at < end; at += Exponential(random, MeanThink))
            active.Add(at);
        var ending = random.NextDouble() switch { < 0.4 => Ending.Leave, < 0.7 => Ending.Close, _ => Ending.Crash };
        return new DeviceSession(number, isSocket, isBackground, node, start, end, ending, outages, active);
    }

    private static double Exponential(Random random, double mean) => -mean * Math.Log(1 - random.NextDouble());

    // the Box-Muller transform
    private static double Normal(Random random) =>
        Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble());
}
