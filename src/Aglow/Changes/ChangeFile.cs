using System.Numerics;
using System.Runtime.InteropServices;
using Aglow.Sqlite;
using Microsoft.Data.Sqlite;

namespace Aglow.Changes;

/// <summary>A change as the file stores it: 12 bytes.</summary>
/// <param name="User">The index.</param>
/// <param name="LastSeen">The last-seen second that callers see; 0: never.</param>
/// <param name="Flags">Status in bits 0 and 1, whether it is a transition in bit 2, the reason from bit 4 on.</param>
[StructLayout(LayoutKind.Sequential, Pack = 4)]
internal readonly record struct StoredChange(uint User, uint LastSeen, uint Flags)
{
    public const int Bytes = 12;

    public StoredChange(uint user, uint lastSeen, PresenceStatus status, bool isTransition, ChangeReason reason)
        : this(user, lastSeen, (uint)status | (isTransition ? 4u : 0) | ((uint)reason << 4))
    {
    }

    public PresenceStatus Status => (PresenceStatus)(Flags & 3);

    public bool IsTransition => (Flags & 4) != 0;

    public ChangeReason Reason => (ChangeReason)((Flags >> 4) & 7);
}

/// <summary>What the feed has reported of a user besides the online state.</summary>
/// <param name="Claim">The claimed status.</param>
/// <param name="DeviceLeft">
/// Whether the user was reported online while one of their devices had left. After a restart, such a user counts as offline.
/// </param>
internal readonly record struct ReportedKind(ClaimStatus Claim, bool DeviceLeft);

/// <summary>The feed's tables in <c>presence.db</c>, and all statements on them.</summary>
/// <remarks>
/// <code>
///   changes        last -> at, crc, records     last: the number of the row's last record
///                                               records: user u32, last seen u32, flags u32, …; little endian, 4,096 at most
///   changes_state  one row: generation, last and bytes as of the newest trim
///   changes_before generation -> last: earlier generations, and their last record when a backup was restored
///   changes_told   user -> kind: the claimed status that was reported, and 16 if one device had left
/// </code>
/// A row holds a commit of the journal, not a single change: a row of 200 changes costs as much as a row of one. Threading: one thread at a
/// time.
/// </remarks>
internal sealed class ChangeFile : IDisposable
{
    public const int RecordsPerRow = 4096;

    /// <summary>How many bytes a row counts besides its records.</summary>
    private const int RowBytes = 32;

    private const long DeviceLeft = 16;

    // the most rows that one transaction deletes
    private const int RowsPerTrim = 256;

    private const string Oldest = "SELECT last, at, length(records) FROM changes ORDER BY last LIMIT ?";

    private const string Schema = """
        CREATE TABLE IF NOT EXISTS changes (
            last INTEGER PRIMARY KEY, at INTEGER NOT NULL, crc INTEGER NOT NULL, records BLOB NOT NULL) STRICT;
        CREATE TABLE IF NOT EXISTS changes_state (
            id INTEGER PRIMARY KEY CHECK (id = 0), generation INTEGER NOT NULL, last INTEGER NOT NULL, bytes INTEGER NOT NULL) STRICT;
        CREATE TABLE IF NOT EXISTS changes_before (generation INTEGER PRIMARY KEY, last INTEGER NOT NULL) STRICT;
        CREATE TABLE IF NOT EXISTS changes_told (user INTEGER PRIMARY KEY, kind INTEGER NOT NULL) STRICT;
        """;

    private readonly SqliteStatements _sql;
    private Place _committed;

    private ChangeFile(SqliteConnection connection)
    {
        SqliteFile.Execute(connection, Schema);
        _sql = new SqliteStatements(connection);
        Load();
    }

    /// <summary>Whether the tables were just created.</summary>
    public bool IsNew { get; private set; }

    public uint Generation { get; private set; }

    /// <summary>The end of the feed once the current transaction is committed.</summary>
    public Place Now { get; private set; }

    public static ChangeFile Open(SqliteConnection connection) => new(connection);

    /// <summary>
    /// Deletes the feed of a folder, because the feed is turned off. No changes are recorded while it is off, so a later feed must be a new
    /// one.
    /// </summary>
    public static void Drop(SqliteConnection connection) => SqliteFile.Execute(connection,
            """
            DROP TABLE IF EXISTS changes; DROP TABLE IF EXISTS changes_state; DROP TABLE IF EXISTS changes_before;
            DROP TABLE IF EXISTS changes_told
            """);

    /// <summary>
    /// Begins a new generation in a folder that a backup made: records after the backup are not in it, and new ones get their numbers.
    /// </summary>
    public static void BeginGeneration(SqliteConnection connection) => SqliteFile.Execute(
        connection,
        $"""
        BEGIN IMMEDIATE; {Schema}
        INSERT OR REPLACE INTO changes_before SELECT generation, max(last, ifnull((SELECT max(last) FROM changes), 0)) FROM changes_state;
        UPDATE changes_state SET generation = {NewGeneration()};
        COMMIT
        """);

    /// <summary>Earlier generations, and the last record that each shares with this one.</summary>
    public static Dictionary<uint, long> ReadEarlier(SqliteConnection connection)
    {
        var earlier = new Dictionary<uint, long>();
        SqliteFile.Execute(connection, Schema);
        using var rows = new SqliteStatement(connection, "SELECT generation, last FROM changes_before");
        while (rows.Step())
            earlier[(uint)rows.Int64(0)] = rows.Int64(1);
        return earlier;
    }

    /// <summary>The users that the feed of a folder names, some of them several times; none if there is no feed.</summary>
    public static IEnumerable<uint> ReadUsers(SqliteConnection connection)
    {
        if (SqliteFile.QueryInt64(connection, "SELECT count(*) FROM sqlite_schema WHERE name = 'changes_told'") == 0)
            yield break;
        foreach (var user in ReadReportedKinds(connection).Keys)
            yield return user;
        using var rows = new SqliteStatement(connection, "SELECT records FROM changes");
        while (rows.Step())
        {
            foreach (var record in MemoryMarshal.Cast<byte, StoredChange>(rows.Blob(0)).ToArray())
                yield return record.User;
        }
    }

    /// <summary>
    /// What the feed has reported of users besides the online state: the claim, and whether one device left while another may be alive.
    /// </summary>
    public static Dictionary<uint, ReportedKind> ReadReportedKinds(SqliteConnection connection)
    {
        var reported = new Dictionary<uint, ReportedKind>();
        using var rows = new SqliteStatement(connection, "SELECT user, kind FROM changes_told");
        while (rows.Step())
            reported[(uint)rows.Int64(0)] =
                new ReportedKind((ClaimStatus)(rows.Int64(1) & (DeviceLeft - 1)), (rows.Int64(1) & DeviceLeft) != 0);
        return reported;
    }

    public void Append(uint at, ReadOnlySpan<StoredChange> records)
    {
        while (!records.IsEmpty)
        {
            var row = records[..Math.Min(records.Length, RecordsPerRow)];
            records = records[row.Length..];
            Now = Now with { Last = Now.Last + row.Length, Bytes = Now.Bytes + RowBytes + (row.Length * StoredChange.Bytes) };
            var bytes = MemoryMarshal.AsBytes(row);
            _sql["INSERT INTO changes (last, at, crc, records) VALUES (?, ?, ?, ?)"]
                .Bind(1, Now.Last).Bind(2, at).Bind(3, Checksum(bytes, Now.Last, at)).Bind(4, bytes).Run();
        }
    }

    /// <summary>
    /// Deletes rows older than a second, and the oldest rows while the feed exceeds a size. It deletes some rows at a time, and returns
    /// whether there may be more.
    /// </summary>
    public bool Trim(uint oldest, long maxBytes)
    {
        var (trimTo, bytes, rows) = (0L, Now.Bytes, 0);
        var row = _sql[Oldest].Bind(1, RowsPerTrim);
        while (row.Step())
        {
            if (row.Int64(1) >= oldest && bytes <= maxBytes)
            {
                row.Reset();
                break;
            }

            rows++;
            trimTo = row.Int64(0);
            bytes -= RowBytes + row.Int64(2);
        }

        if (rows == 0)
            return false;
        _sql["DELETE FROM changes WHERE last <= ?"].Bind(1, trimTo).Run();
        Now = Now with { Trimmed = trimTo, Bytes = Math.Max(0, bytes) };
        WriteState();
        return rows == RowsPerTrim;
    }

    public void SaveKind(uint user, ReportedKind reported)
    {
        if (reported == default)
            _sql["DELETE FROM changes_told WHERE user = ?"].Bind(1, user).Run();
        else
            _sql["REPLACE INTO changes_told (user, kind) VALUES (?, ?)"]
                .Bind(1, user).Bind(2, (long)reported.Claim | (reported.DeviceLeft ? DeviceLeft : 0)).Run();
    }

    /// <summary>Notes that the transaction is on disk. Returns whether it moved the feed.</summary>
    public bool Commit()
    {
        var isMoved = _committed != Now;
        _committed = Now;
        return isMoved;
    }

    public void RollBack() => Now = _committed;

    public void Dispose() => _sql.Dispose();

    public static uint Checksum(ReadOnlySpan<byte> bytes, long last, uint at)
    {
        var crc = BitOperations.Crc32C(BitOperations.Crc32C(uint.MaxValue, (ulong)last), at);
        foreach (var four in MemoryMarshal.Cast<byte, uint>(bytes))
            crc = BitOperations.Crc32C(crc, four);
        return crc;
    }

    private void Load()
    {
        var (last, bytes) = (0L, 0L);
        var state = _sql["SELECT generation, last, bytes FROM changes_state"];
        IsNew = !state.Step();
        if (IsNew)
            Generation = NewGeneration();
        else
            (Generation, last, bytes) = ((uint)state.Int64(0), state.Int64(1), state.Int64(2));
        state.Reset();

        var since = _sql["SELECT max(last), total(length(records)), count(*) FROM changes WHERE last > ?"].Bind(1, last);
        since.Step();
        if (since.Int64(2) > 0)
            (last, bytes) = (since.Int64(0), bytes + since.Int64(1) + (since.Int64(2) * RowBytes));
        since.Reset();
        var oldest = _sql[Oldest].Bind(1, 1);
        var trimmed = oldest.Step() ? oldest.Int64(0) - (oldest.Int64(2) / StoredChange.Bytes) : last;
        oldest.Reset();
        Now = _committed = new Place(last, trimmed, bytes);
        WriteState();
    }

    private static uint NewGeneration() => (uint)Random.Shared.Next();

    private void WriteState() => _sql["REPLACE INTO changes_state (id, generation, last, bytes) VALUES (0, ?, ?, ?)"]
        .Bind(1, Generation).Bind(2, Now.Last).Bind(3, Now.Bytes).Run();

    /// <summary>The extent of the feed.</summary>
    /// <param name="Last">The number of the newest change.</param>
    /// <param name="Trimmed">Changes up to this number are deleted.</param>
    /// <param name="Bytes">The size of the remaining changes.</param>
    internal readonly record struct Place(long Last, long Trimmed, long Bytes);
}
