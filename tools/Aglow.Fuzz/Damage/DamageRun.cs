using Aglow.Files;
using Aglow.Storage;

namespace Aglow.Fuzz.Damage;

/// <summary>What a run found of one file: how many flips a start refused, how many harmed nothing, and those that lost facts.</summary>
internal sealed record DamageResult(string State, string File)
{
    public long Bytes { get; set; }

    public int Refused { get; set; }

    public int Unharmed { get; set; }

    public List<string> Silent { get; } = [];

    public override string ToString() =>
        $"{State,-8} {File,-20} {Bytes,9} bytes: {Refused,5} refused, {Unharmed,5} unharmed, {Silent.Count} silent losses"
            + string.Concat(Silent.Take(3).Select(static loss => $"\n    {loss}"));
}

/// <summary>
/// Flips one byte in each file of a data folder, and starts: the start refuses, or every fact is there. It flips while nothing runs (after
/// a stop, after a kill), and while a store writes.
/// </summary>
/// <remarks>
/// <code>
///   stopped   folder after a stop in order     ─► copy ─► flip ─► open ─► refused, or all facts
///   killed    copy of an open folder           ─► copy ─► flip ─► open ─► refused, or all facts
///   running   folder after a stop in order     ─► copy ─► open, write ─► flip ─► write ─► copy, close ─► open either ─► likewise
/// </code>
/// Facts that the running store refused may be missing. A copy of an open, idle folder equals what a kill leaves.
/// </remarks>
internal sealed class DamageRun(int places, int seed, string? onlyFile, string? onlyState, TextWriter output)
{
    private readonly string _root = Directory.CreateTempSubdirectory("aglow-damage-").FullName;
    private readonly Random _random = new(seed);

    /// <summary>Runs everything, and returns a result for each state and file.</summary>
    public async Task<IReadOnlyList<DamageResult>> RunAsync(CancellationToken stop)
    {
        var results = new List<DamageResult>();
        try
        {
            var (stopped, killed) = (At("stopped"), At("killed"));
            await using (var first = await DamageFacts.OpenAsync(stopped))
            {
                await DamageFacts.WriteAsync(first.Presence, 0);
                await DamageFacts.WriteAsync(first.Presence, 1);
                await QuietAsync(first);
                Copy(stopped, killed);
            }

            foreach (var (state, folder) in new[] { ("stopped", stopped), ("killed", killed) }.Where(one => IsAsked(one.Item1)))
            {
                foreach (var file in FilesOf(folder))
                    await AddAsync(results, await FlipAtRestAsync(state, folder, file, stop));
            }

            foreach (var file in IsAsked("running") ? FilesOf(killed) : [])
                await AddAsync(results, await FlipWhileRunningAsync(stopped, file, stop));
            return results;
        }
        finally
        {
            Directory.Delete(_root, recursive: true);
        }
    }

    private bool IsAsked(string state) => onlyState is null || onlyState == state;

    private async Task AddAsync(List<DamageResult> results, DamageResult result)
    {
        results.Add(result);
        await output.WriteLineAsync(result.ToString());
    }

    private async Task<DamageResult> FlipAtRestAsync(string state, string folder, string file, CancellationToken stop)
    {
        var result = new DamageResult(state, file) { Bytes = new FileInfo(Path.Combine(folder, file)).Length };
        for (var i = 0; i < places && result.Bytes > 0 && !stop.IsCancellationRequested; i++)
        {
            var copy = At("try");
            Copy(folder, copy);
            var at = Place(i, result.Bytes);
            var flip = Flip(Path.Combine(copy, file), at);
            await JudgeAsync(result, copy, 2, $"byte {at} ^ 0x{flip:x2}");
        }

        return result;
    }

    private async Task<DamageResult> FlipWhileRunningAsync(string folder, string file, CancellationToken stop)
    {
        var result = new DamageResult("running", file);
        for (var i = 0; i < places && !stop.IsCancellationRequested; i++)
        {
            var (copy, killed) = (At("try"), At("try-killed"));
            Copy(folder, copy);
            var rounds = 2;
            long at = 0;
            byte flip = 0;
            var how = "stopped";
            var store = await DamageFacts.OpenAsync(copy);
            try
            {
                await DamageFacts.WriteAsync(store.Presence, rounds++);
                await QuietAsync(store);
                result.Bytes = Math.Max(result.Bytes, new FileInfo(Path.Combine(copy, file)).Length);
                at = Place(i, Math.Max(1, result.Bytes));
                flip = Flip(Path.Combine(copy, file), at);
                await DamageFacts.WriteAsync(store.Presence, rounds);
                rounds++;
                await QuietAsync(store);
            }
            catch (StoreUnavailableException)
            {
                // the running store found the damage, and refused these facts
            }

            Copy(copy, killed);
            try
            {
                await store.DisposeAsync();
            }
            catch (StoreUnavailableException)
            {
                how = "stopped with a word";
            }

            await JudgeAsync(result, i % 2 == 0 ? copy : killed, rounds, $"byte {at} ^ 0x{flip:x2}, {how}");
        }

        return result;
    }

    // Either the start refuses with one line, or everything that was acknowledged is there.
    private async Task JudgeAsync(DamageResult result, string folder, int rounds, string what)
    {
        EmbeddedPresence? store = null;
        try
        {
            store = await DamageFacts.OpenAsync(folder);
            if (store.Presence.Changes is { } changes)
                await changes.Consumers.ReadAsync("place/");
            var (expected, found) = (await ExpectedAsync(rounds), await DamageFacts.ReadAsync(store.Presence, rounds));
            if (expected == found)
                result.Unharmed++;
            else
                result.Silent.Add($"{what}: {Difference(expected, found)}");
        }
        catch (DataFolderException e) when (!e.Message.Contains('\n', StringComparison.Ordinal))
        {
            result.Refused++;
        }
        catch (Exception e)
        {
            result.Silent.Add($"{what}: {e.GetType().Name}: {e.Message}");
        }
        finally
        {
            // also a store whose last file was refused: a run opens thousands
            if (store is not null)
                await store.DisposeAsync();
        }
    }

    private readonly Dictionary<int, string> _expected = [];

    // The same facts in a folder that nobody damages. IDs get their indexes in the same order there.
    private async Task<string> ExpectedAsync(int rounds)
    {
        if (_expected.TryGetValue(rounds, out var known))
            return known;
        await using var store = await DamageFacts.OpenAsync(At($"expected-{rounds}"));
        for (var round = 0; round < rounds; round++)
            await DamageFacts.WriteAsync(store.Presence, round);
        return _expected[rounds] = await DamageFacts.ReadAsync(store.Presence, rounds);
    }

    private static async Task QuietAsync(EmbeddedPresence store)
    {
        // a heartbeat that brings a user online waits until it and all earlier writes are on disk
        await store.Presence.HeartbeatAsync(2_000_000);
        await store.Presence.LeaveAsync(new uint[] { 2_000_000 });
    }

    private IEnumerable<string> FilesOf(string folder) => Directory.GetFiles(folder).Select(file => Path.GetFileName(file)!)
        .Where(file => onlyFile is null || file == onlyFile).Order(StringComparer.Ordinal);

    // near the beginning, near the end, or anywhere
    private long Place(int i, long bytes) => (i % 8) switch
    {
        0 => Math.Min(i / 8, bytes - 1),
        1 => Math.Max(0, bytes - 1 - (i / 8)),
        _ => _random.NextInt64(bytes),
    };

    private byte Flip(string path, long at)
    {
        using var file = File.OpenHandle(path, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite | FileShare.Delete);
        Span<byte> one = stackalloc byte[1];
        if (RandomAccess.Read(file, one, at) == 0)
            return 0;
        var flip = (byte)_random.Next(1, 256);
        one[0] ^= flip;
        RandomAccess.Write(file, one, at);
        return flip;
    }

    private string At(string name)
    {
        var folder = Path.Combine(_root, name);
        if (Directory.Exists(folder))
            Directory.Delete(folder, recursive: true);
        return folder;
    }

    private static void Copy(string from, string to)
    {
        PrivateFile.CreateFolder(to);
        foreach (var file in Directory.GetFiles(from))
        {
            if (Path.GetFileName(file) is "lock")
                continue;
            using var source = new FileStream(file, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
            using var target = PrivateFile.Replace(Path.Combine(to, Path.GetFileName(file)));
            source.CopyTo(target);
        }
    }

    private static string Difference(string expected, string found)
    {
        var (a, b) = (expected.Split('\n'), found.Split('\n'));
        var at = Enumerable.Range(0, Math.Min(a.Length, b.Length)).FirstOrDefault(i => a[i] != b[i]);
        return $"expected \"{a[at]}\", found \"{b[at]}\"";
    }
}
