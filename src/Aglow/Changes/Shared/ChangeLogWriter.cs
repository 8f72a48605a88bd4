using System.Runtime.InteropServices;

namespace Aglow.Changes.Shared;

/// <summary>
/// Gathers records of changes and the reported state, writes both together, and deletes what the feed no longer keeps.
/// </summary>
/// <remarks>The loop of the <see cref="SharedChangeRecorder"/> owns it.</remarks>
/// <param name="log">The feed.</param>
/// <param name="clock">Store time.</param>
/// <param name="options">How long the feed keeps changes, and how many bytes.</param>
/// <param name="moved">Receives each new extent of the feed.</param>
internal sealed class ChangeLogWriter(IChangeLog log, Clock clock, AglowOptions options, Action<ChangeLogHead> moved)
{
    /// <summary>How long after a failed write the next attempt follows.</summary>
    public static readonly TimeSpan RetryAfter = TimeSpan.FromMilliseconds(250);

    // More than the records that a failover may lose. A new owner continues at numbers beyond them.
    private const long Jump = 1 << 20;
    private const uint TrimEverySeconds = 10;
    private const int TrimAtOnce = 16;
    private const int EntryBytes = 32;

    private readonly int _keepSeconds = options.ChangesHours * 3600;
    private readonly long _maxBytes = (long)options.ChangesMegabytes << 20;
    private readonly List<StoredChange> _records = [];
    private readonly List<(uint User, bool Online)> _flips = [];
    private readonly List<(uint User, long Value)> _changedFacts = [];
    private long _highest;
    private uint _trimAt;

    /// <summary>The end of the feed as this node wrote it last.</summary>
    public ChangeLogHead Head { get; private set; } = new(0, 0, 0, 0, 0, 0, 0, 0);

    /// <summary>Whether something is to be written.</summary>
    public bool HasNews => _records.Count + _flips.Count + _changedFacts.Count > 0;

    /// <summary>Begins to write: this node owns the feed, which ends at <paramref name="head"/>.</summary>
    public void Begin(ChangeLogHead head)
    {
        Head = head;
        _highest = Math.Max(_highest, head.Last) + Jump;
        _trimAt = 0;
    }

    public void Record(StoredChange change) => _records.Add(change);

    public void Flip(uint user, bool online) => _flips.Add((user, online));

    public void Fact(uint user, ReportedFacts facts) => _changedFacts.Add((user, facts.Value));

    /// <summary>Writes what was added. False: another node owns the feed, or Redis has lost part of it.</summary>
    public async Task<bool> WriteAsync(string token, uint asOf, bool mayMiss, CancellationToken lost)
    {
        var now = clock.Now;
        var entries = new List<ChangeLogEntry>();
        if (mayMiss)
            entries.Add(new ChangeLogEntry(++_highest, now, default));
        var records = CollectionsMarshal.AsSpan(_records);
        for (var from = 0; from < records.Length; from += ChangeFile.RecordsPerRow)
        {
            var some = records[from..Math.Min(records.Length, from + ChangeFile.RecordsPerRow)];
            entries.Add(new ChangeLogEntry(_highest += some.Length, now, MemoryMarshal.AsBytes(some).ToArray()));
        }

        var after = Head with
        {
            Last = _highest,
            AsOf = asOf,
            Bytes = Head.Bytes + (entries.Count * EntryBytes) + (_records.Count * StoredChange.Bytes),
            Recorded = Head.Recorded + _records.Count,
            Kept = Head.Kept + _records.Count,
        };
        if (now >= _trimAt)
            after = await TrimAsync(after, now);
        var write = new ChangeLogWrite(Head, after, entries, [.. _flips], [.. _changedFacts], _keepSeconds);
        while (true)
        {
            try
            {
                if (!await log.AppendAsync(token, write))
                    return false;
                break;
            }
            catch (StoreUnavailableException) when (!lost.IsCancellationRequested)
            {
                // Write the same again. If the store carried out the first attempt, the next one finds the feed ahead and returns false.
                await Task.Delay(RetryAfter, clock.Time, CancellationToken.None);
            }
            catch (StoreUnavailableException)
            {
                return false;
            }
        }

        Head = after;
        _records.Clear();
        _flips.Clear();
        _changedFacts.Clear();
        moved(after);
        return true;
    }

    private async ValueTask<ChangeLogHead> TrimAsync(ChangeLogHead head, uint now)
    {
        var oldest = now > _keepSeconds ? now - (uint)_keepSeconds : 0;
        var entries = await log.ReadAsync(head.Trimmed, TrimAtOnce);
        foreach (var entry in entries)
        {
            if (entry.At >= oldest && head.Bytes <= _maxBytes)
            {
                _trimAt = now + TrimEverySeconds;
                return head;
            }

            head = head with
            {
                Trimmed = entry.Last,
                Bytes = Math.Max(0, head.Bytes - EntryBytes - entry.Records.Length),
                Kept = Math.Max(0, head.Kept - (entry.Records.Length / StoredChange.Bytes)),
            };
        }

        if (entries.Count == 0)
            _trimAt = now + TrimEverySeconds;
        return head;
    }
}
