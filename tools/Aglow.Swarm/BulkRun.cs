using System.Globalization;
using System.Runtime.InteropServices;
using System.Text.Json;

namespace Aglow.Swarm;

/// <summary>
/// Millions of active users by packed heartbeats, every one of them once an interval, for as long as asked: <c>--bulk 5m</c>.
/// </summary>
/// <remarks>
/// Open loop: batches are due at fixed times, latency counts from when a batch was due, however late it was sent. Between batches statuses are read
/// packed, of users drawn by the seed, and checked: who was acknowledged less than a lease ago is online; last seen is the second of a sending; who
/// was never sent (a tenth more numbers than are active) is offline.
/// </remarks>
internal static class BulkRun
{
    private const int BatchUsers = 50_000;
    private const int SampleUsers = 1_000;
    private const uint EpochUnixSeconds = 1_577_836_800;
    private const int Shown = 20;

    public static async Task<bool> RunAsync(SwarmOptions options, CancellationToken stop)
    {
        var clock = new SwarmClock(TimeProvider.System);
        using var node = new Node(options.Urls[0]);
        // a number far from those that are used
        var (promises, unixAtZero) = await PeopleRun.AskAsync(options with { Urls = [options.Urls[0]], First = 2_000_000_000, People = 0 }, clock, stop);
        var bulk = new Bulk(options, clock, promises, unixAtZero, node);
        await bulk.RunAsync(stop);

        foreach (var violation in bulk.Violations.Take(Shown))
            Console.WriteLine(violation);
        var latency = LatencyLine.Of("packed batch, from when it was due", bulk.Acknowledged);
        Console.WriteLine($"{latency.What}: p50 {latency.P50Ms} ms, p99 {latency.P99Ms} ms, max {latency.MaxMs} ms ({View.Number(latency.Count)} batches of up to {View.Number(BatchUsers)})");
        var nothing = bulk.Checked == 0 ? "nothing proven: no status was checked" : null;
        var outcome = bulk.ViolationCount > 0 ? $"{bulk.ViolationCount} violations" : nothing ?? "0 violations";
        Console.WriteLine(
            $"{View.Number(bulk.Heartbeats)} heartbeats in {clock.Now:0} s ({View.Number((long)(bulk.Heartbeats / Math.Max(1, clock.Now)))}/s), {View.Number(bulk.Checked)} statuses checked, {View.Number(bulk.Errors)} errors{(bulk.Errors > 0 ? $" (the last: {bulk.LastError})" : "")}.");
        Console.WriteLine($"{outcome} ({View.Number(options.Bulk)} active users, seed {options.Seed}).");
        var passed = bulk.ViolationCount == 0 && nothing is null;
        if (options.Json is { } json)
        {
            var record = new
            {
                StartedAt = clock.BeganAt,
                options.Bulk,
                options.Seed,
                Seconds = Math.Round(clock.Now, 1),
                Passed = passed,
                Outcome = outcome,
                bulk.Heartbeats,
                StatusesChecked = bulk.Checked,
                bulk.Errors,
                Acknowledged = latency,
                Violations = bulk.Violations,
                bulk.Samples,
            };
            await File.WriteAllTextAsync(json, JsonSerializer.Serialize(record, Summary.Json), CancellationToken.None);
        }

        return passed;
    }

    private sealed class Bulk(SwarmOptions options, SwarmClock clock, Promises promises, double unixAtZero, Node node)
    {
        private const int Kept = 200;
        private readonly int _batches = (int)((options.Bulk + BatchUsers - 1) / BatchUsers);
        private readonly Random _random = new(options.Seed);
        private (double Sent, double Heard)[] _last = [];

        public Latencies Acknowledged { get; } = new();

        public List<string> Violations { get; } = [];

        public List<object> Samples { get; } = [];

        public long ViolationCount { get; private set; }

        public long Heartbeats { get; private set; }

        public long Checked { get; private set; }

        public long Errors { get; private set; }

        public string LastError { get; private set; } = "";

        public async Task RunAsync(CancellationToken stop)
        {
            _last = new (double, double)[_batches];
            Array.Fill(_last, (double.NegativeInfinity, double.NegativeInfinity));
            var numbers = new uint[BatchUsers];
            var began = clock.Now;
            var step = promises.Heartbeat / _batches;
            var nextLine = began + 5;
            // a batch may take as long as it takes: those due meanwhile are sent late, and their latency says so
            for (long number = 0; clock.Now - began < options.Seconds && !stop.IsCancellationRequested; number++)
            {
                var due = began + (number * step);
                var batch = (int)(number % _batches);
                try
                {
                    if (clock.Now < due - 0.02 && number >= _batches)
                        await CheckAsync(stop);
                    await clock.UntilAsync(due, stop);
                    await SendAsync(batch, numbers, due, stop);
                }
                catch (Exception lost) when (SwarmRun.IsLoss(lost, stop))
                {
                    Errors++;
                    LastError = lost.Message;
                }
                catch (OperationCanceledException)
                {
                    return;
                }

                if (clock.Now >= nextLine)
                {
                    nextLine += 5;
                    Samples.Add(new { At = Math.Round(clock.Now, 1), Heartbeats, Checked, Errors, Violations = ViolationCount });
                    Console.WriteLine(string.Create(
                        CultureInfo.InvariantCulture,
                        $"{clock.Now,6:0} s  {View.Number(Heartbeats)} heartbeats, p50 {Acknowledged.Quantile(0.5) * 1000:0.0} ms p99 {Acknowledged.Quantile(0.99) * 1000:0.0} ms max {Acknowledged.Max * 1000:0.0} ms, {View.Number(Checked)} checked, {Errors} errors, {ViolationCount} violations"));
                }
            }
        }

        private async Task SendAsync(int batch, uint[] numbers, double due, CancellationToken stop)
        {
            // user u is in batch u mod batches: neighbours come at different times, as in life
            var count = 0;
            for (var user = (uint)batch; user < options.Bulk; user += (uint)_batches)
                numbers[count++] = user;
            var sent = clock.Now;
            var before = _last[batch];
            _last[batch] = (before.Sent, double.PositiveInfinity);
            await node.PostPackedAsync("heartbeat", Bytes(numbers.AsSpan(0, count)), stop);
            _last[batch] = (sent, clock.Now);
            Acknowledged.Add(clock.Now - due);
            Heartbeats += count;
        }

        private async Task CheckAsync(CancellationToken stop)
        {
            var users = new uint[SampleUsers];
            for (var i = 0; i < users.Length; i++)
                users[i] = (uint)_random.NextInt64(options.Bulk + (options.Bulk / 10) + 1);
            var asked = clock.Now;
            var words = MemoryMarshal.Cast<byte, uint>(await node.PostPackedAsync("status/batch", Bytes(users), stop)).ToArray();
            for (var i = 0; i < users.Length; i++)
            {
                Checked++;
                if (Why(users[i], words[i], asked) is { } why && ++ViolationCount <= Kept)
                    Violations.Add($"VIOLATION {why}: user {users[i]}, read at {asked:0.000} s, word {words[i]:x8}");
            }
        }

        private string? Why(uint user, uint word, double asked)
        {
            var isOnline = word >> 31 != 0;
            var seen = (word & 0x7FFF_FFFF) == 0 ? double.NaN : (word & 0x7FFF_FFFF) + (double)EpochUnixSeconds - unixAtZero;
            if (user >= options.Bulk)
                // an earlier run may have had more users: they have lapsed when this one has lasted that long
                return isOnline && asked > promises.Lease + promises.Bound ? "never true (online, and never sent)" : null;
            var (sent, heard) = _last[user % (uint)_batches];
            if (asked - sent >= promises.Lease)
                return isOnline && asked - heard > promises.Lease + promises.Bound ? "ghost online" : null;
            if (!isOnline)
                return $"false offline (sent at {sent:0.000} s, heard by {heard:0.000} s)";
            return seen < sent - promises.ClockSlack || seen > asked + promises.ClockSlack ? $"never true (last seen {seen:0} s, sent at {sent:0.000} s)" : null;
        }

        private static byte[] Bytes(ReadOnlySpan<uint> numbers) => MemoryMarshal.AsBytes(numbers).ToArray();
    }
}
