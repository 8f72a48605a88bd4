using System.Collections.Concurrent;
using System.Diagnostics;

namespace Aglow.Benchmarks.Devices;

/// <summary>How a device shows that it is alive.</summary>
internal enum Transport
{
    /// <summary>A socket, which the server pings.</summary>
    Socket,

    /// <summary>Heartbeats that name the device.</summary>
    Heartbeats,

    /// <summary>Heartbeats that name no device: their leave ends all devices.</summary>
    NamelessHeartbeats,
}

/// <summary>A person with two devices, of which the first leaves first.</summary>
internal sealed record DevicePair(Transport Leaving, int LeavingNode, Transport Staying, int StayingNode)
{
    /// <summary>All pairs of transports and nodes, where each device of a pair leaves first once.</summary>
    public static IReadOnlyList<DevicePair> All(int nodes) =>
    [
        .. from leaving in Enum.GetValues<Transport>()
           from staying in Enum.GetValues<Transport>()
           from node in Enumerable.Range(0, nodes)
           select new DevicePair(leaving, 0, staying, node),
    ];
}

/// <summary>The observations of people with two devices.</summary>
internal sealed class PairFindings
{
    /// <summary>People who were judged.</summary>
    public int Judged { get; set; }

    /// <summary>People who were not judged, because one of their devices was later than the server tolerates.</summary>
    public int Late { get; set; }

    /// <summary>People who were read offline while a device was alive.</summary>
    public int Flickers { get; set; }

    /// <summary>Seconds from the last leave until the person was read offline.</summary>
    public ConcurrentQueue<double> OfflineAfter { get; } = [];

    /// <summary>The mistakes, one line each.</summary>
    public ConcurrentQueue<string> Wrong { get; } = [];
}

/// <summary>
/// People with two devices, for every pair of transports and nodes. One device leaves, and later the other. Reads and watchers on any node
/// must not show the person offline in between.
/// </summary>
/// <remarks>
/// Soon after the second leave they must be offline, with that second as last seen. All people of a round run at once, each device in its
/// own phase. A person with a late device is not judged, because this process shares the machine with the servers. A leave without a device
/// ends all devices, so it must take the person offline at once.
/// </remarks>
internal sealed class DevicePairs(IReadOnlyList<Uri> nodes, TimeSpan interval)
{
    private static readonly TimeSpan ReadEvery = TimeSpan.FromMilliseconds(200);
    private static readonly TimeSpan Deadline = TimeSpan.FromSeconds(60);

    private readonly DeviceNode[] _nodes = [.. nodes.Select(static node => new DeviceNode(node))];

    // the server tolerates a delay of one second
    private TimeSpan LateAfter => interval + TimeSpan.FromSeconds(1);

    private TimeSpan Shortened => interval + TimeSpan.FromSeconds(2);

    /// <summary>One round: one person per pair, numbered from <paramref name="first"/>.</summary>
    public async Task RunAsync(IReadOnlyList<DevicePair> pairs, uint first, PairFindings findings)
    {
        uint[] users = [.. Enumerable.Range(0, pairs.Count).Select(i => first + (uint)i)];
        var watchers = new List<DeviceWatcher>();
        foreach (var node in nodes)
            watchers.Add(await DeviceWatcher.ConnectAsync(node, first + (uint)pairs.Count, users));
        var people = pairs.Select((pair, i) => RunAsync(pair, users[i], watchers, findings)).ToArray();
        await Task.WhenAll(people);
        foreach (var watcher in watchers)
            await watcher.DisposeAsync();
    }

    private async Task RunAsync(DevicePair pair, uint user, List<DeviceWatcher> watchers, PairFindings findings)
    {
        var phase = interval * Random.Shared.NextDouble();
        await using var staying = await PersonDevice.StartAsync(_nodes[pair.StayingNode], user, pair.Staying, "staying", interval, phase);
        phase = interval * Random.Shared.NextDouble();
        await using var leaving = await PersonDevice.StartAsync(_nodes[pair.LeavingNode], user, pair.Leaving, "leaving", interval, phase);
        // long enough for several signs of life from both devices
        await Task.Delay(interval * 2);
        await UntilAsync(() => watchers.TrueForAll(w => w.Received(user) is [.., "online"]), user, "told online");
        var received = watchers.Select(w => w.Received(user).Length).ToArray();
        await leaving.LeaveAsync();
        if (pair.Leaving == Transport.NamelessHeartbeats)
        {
            // The next heartbeat of the other device may follow at once. From a socket, only the person's acts count from now on.
            if (pair.Staying == Transport.Socket && await IsAnywhereAsync(user, online: true))
                findings.Wrong.Enqueue($"{pair}, user {user}: online after the leave of all devices");
            lock (findings)
                findings.Judged++;
            return;
        }

        // watches until after the end of the shortened lease, and the reads that follow
        var seenOffline = false;
        var until = Shortened + TimeSpan.FromSeconds(2);
        for (var began = Stopwatch.GetTimestamp(); Stopwatch.GetElapsedTime(began) < until; await Task.Delay(ReadEvery))
            seenOffline |= await IsAnywhereAsync(user, online: false);
        seenOffline |= watchers.Where((w, i) => w.Received(user).Skip(received[i]).Contains("offline")).Any();
        if (staying.LongestGap > LateAfter)
        {
            lock (findings)
                findings.Late++;
            return;
        }

        lock (findings)
            (findings.Judged, findings.Flickers) = (findings.Judged + 1, findings.Flickers + (seenOffline ? 1 : 0));
        if (seenOffline)
        {
            var records = watchers.Select(w => string.Join(",", w.Received(user)));
            findings.Wrong.Enqueue(
                $"{pair}, user {user}: seen offline while the other device was alive; told {string.Join(" | ", records)}");
        }

        await LeaveLastAsync(pair, user, staying, watchers, findings);
    }

    private async Task LeaveLastAsync(
        DevicePair pair, uint user, PersonDevice staying, List<DeviceWatcher> watchers, PairFindings findings)
    {
        var before = DateTimeOffset.UtcNow.ToUnixTimeSeconds();
        await staying.LeaveAsync();
        var left = Stopwatch.GetTimestamp();
        var after = DateTimeOffset.UtcNow.ToUnixTimeSeconds();
        DeviceRead read;
        while ((read = await _nodes[^1].ReadAsync(user)).IsOnline)
        {
            // the read began after the shortened lease had ended, counted from last seen
            if (read.BeganAt > read.LastSeen + (long)Shortened.TotalSeconds + 2)
            {
                var since = read.BeganAt - read.LastSeen;
                findings.Wrong.Enqueue($"{pair}, user {user}: online {since} s after {read.LastSeen}, when the last device left");
                return;
            }

            await Task.Delay(ReadEvery / 2);
        }

        findings.OfflineAfter.Enqueue(Stopwatch.GetElapsedTime(left).TotalSeconds);
        if (read.LastSeen < before - 1 || read.LastSeen > after + 1)
            findings.Wrong.Enqueue($"{pair}, user {user}: last seen {read.LastSeen}, left from {before} to {after}");
        await UntilAsync(() => watchers.TrueForAll(w => w.Received(user) is [.., "offline"]), user, "told offline");
    }

    private async Task<bool> IsAnywhereAsync(uint user, bool online)
    {
        foreach (var node in _nodes)
        {
            if ((await node.ReadAsync(user)).IsOnline == online)
                return true;
        }

        return false;
    }

    private static async Task UntilAsync(Func<bool> holds, uint user, string what)
    {
        for (var began = Stopwatch.GetTimestamp(); !holds(); await Task.Delay(50))
        {
            if (Stopwatch.GetElapsedTime(began) > Deadline)
                throw new TimeoutException($"user {user} was not {what} within {Deadline.TotalSeconds} s");
        }
    }
}
