using Aglow.Diagnostics;
using Aglow.Durable;
using Aglow.Model;
using Aglow.Sqlite;
using Aglow.Storage;
using Microsoft.Data.Sqlite;

namespace Aglow.Users;

/// <summary>
/// The user directory of one machine: the facts in <c>users.db</c>, and an index of the names beside it.
/// </summary>
/// <remarks>
/// <code>
/// CreateAsync, RegisterAsync, ... ─► SqliteWriter (one thread, group commit) ─► users.db ─► NameTail ─► NameIndex (names.db, background)
/// FindNumbersAsync, SearchAsync   ─► a reader of the pool ─► NameTail and names.db for names, users.db for rows
/// </code>
/// <c>users.db</c> is written in the order of numbers, so a batch of registrations touches few pages; see <see cref="NameIndex"/> for
/// why its names are indexed elsewhere and later. Uniqueness does not wait for that: a name is looked up in the tail and in the
/// index, on the writer's thread, before it is given a number.
/// <code>
/// user           number, name, display name, times
/// deleted        numbers never to be given again; their names until the index has dropped them
/// subscription   follower, followed; an index each way
/// manual_status  number, kind, last seen to show
/// visibility     number, who sees them online, how exactly they are last seen
/// relation       number, approved or blocked, whom
/// property       the secrets of hashes and cursors
/// </code>
/// Any number of callers at once; reads run on the caller's thread, a few at a time.
/// </remarks>
public sealed class SqliteUserDirectory : IUserDirectory
{
    private const int ApplicationId = 0x41477573; // "AGus"
    private const int SchemaVersion = 1;
    private const string Schema = """
        CREATE TABLE user (
            number INTEGER PRIMARY KEY, name TEXT NOT NULL, display_name TEXT, created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL);
        CREATE TABLE deleted (number INTEGER PRIMARY KEY, name TEXT, display_name TEXT);
        CREATE INDEX deleted_name ON deleted (number) WHERE name IS NOT NULL;
        CREATE TABLE subscription (follower INTEGER, followed INTEGER, PRIMARY KEY (follower, followed)) WITHOUT ROWID;
        CREATE INDEX subscription_followed ON subscription (followed, follower);
        CREATE TABLE manual_status (number INTEGER PRIMARY KEY, kind INTEGER NOT NULL, shown_last_seen INTEGER NOT NULL);
        CREATE TABLE property (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
        INSERT INTO property VALUES ('id', lower(hex(randomblob(16)))), ('names', lower(hex(randomblob(16)))), ('cursors', lower(hex(randomblob(16))))
        """;

    // also in files of before there was any
    private const string VisibilitySchema = """
        CREATE TABLE IF NOT EXISTS visibility (number INTEGER PRIMARY KEY, online INTEGER NOT NULL, last_seen INTEGER NOT NULL);
        CREATE TABLE IF NOT EXISTS relation (number INTEGER, kind INTEGER, other INTEGER, PRIMARY KEY (number, kind, other)) WITHOUT ROWID;
        CREATE INDEX IF NOT EXISTS relation_other ON relation (other, number)
        """;

    private readonly NameIndex _names;
    private readonly SqliteWriter _writer;
    private readonly UserCommands _commands;
    private readonly UserReaders _readers;
    private int _disposed;

    private SqliteUserDirectory(NameIndex names, SqliteWriter writer, UserCommands commands, UserReaders readers)
    {
        _names = names;
        _writer = writer;
        _commands = commands;
        _readers = readers;
        _names.Forget = numbers => Discard(_writer.RunAsync(() => _commands.Forget(numbers), numbers.Count));
    }

    /// <inheritdoc/>
    public uint NextNumber => _commands.NextNumber;

    /// <summary>Writes that SQLite refused.</summary>
    public long Failures => _writer.Failures;

    /// <summary>Opens the directory in a folder that this process holds (<see cref="DataFolder"/>), making what is not there; throws <see cref="DataFolderException"/> where it cannot be used.</summary>
    public static SqliteUserDirectory Open(string folder, TimeProvider time, AglowLog? log = null)
    {
        var file = SqliteFile.Open(folder, "users.db", ApplicationId, SchemaVersion, $"{Schema};\n{VisibilitySchema}");
        SqliteConnection? connection = null;
        NameIndex? names = null;
        try
        {
            connection = file.ConnectToWrite(cacheKibibytes: 16 * 1024);
            SqliteFile.Execute(connection, VisibilitySchema);
            var next = UserCommands.ReadNextNumber(connection);
            var secrets = UserCommands.ReadProperties(connection);
            names = NameIndex.Open(
                folder, file, secrets["id"], new SipHash(Convert.FromHexString(secrets["names"])), next, time, log);
            var readers = new UserReaders(file, names, new SipHash(Convert.FromHexString(secrets["cursors"])), time);
            var commands = new UserCommands(connection, names, next, time);
            var writer = new SqliteWriter(connection, file.Path, commands.Committed);
            commands.OnUndo = writer.OnUndo;
            var directory = new SqliteUserDirectory(names, writer, commands, readers);
            names.Start();
            return directory;
        }
        catch (Exception e) when (e is SqliteException or DataFolderException or KeyNotFoundException or FormatException)
        {
            names?.Dispose();
            connection?.Dispose();
            throw e switch
            {
                SqliteException sqlite => DataFolder.Explain(file.Path, sqlite),
                DataFolderException => e,
                _ => DataFolder.Damaged(file.Path, "its secrets are gone"),
            };
        }
    }

    /// <inheritdoc/>
    public async ValueTask<DirectoryUser?> CreateAsync(string name, string? displayName)
    {
        await _names.RoomAsync();
        var user = await _writer.RunAsync(() => _commands.Create(name, displayName));
        _names.Changed(deleted: false);
        return user;
    }

    /// <inheritdoc/>
    public async ValueTask<int> RegisterAsync(IReadOnlyList<string> keys, Memory<uint> numbers)
    {
        await _names.RoomAsync();
        var added = await _writer.RunAsync(() => _commands.Register(keys, numbers.Span), keys.Count);
        _names.Changed(deleted: false);
        return added;
    }

    /// <inheritdoc/>
    public ValueTask FindNumbersAsync(IReadOnlyList<string> keys, Memory<uint> numbers) =>
        Discard(_readers.RunAsync(reader => reader.FindNumbers(keys, numbers.Span)));

    /// <inheritdoc/>
    public ValueTask FindNamesAsync(ReadOnlyMemory<uint> numbers, Memory<string?> names) =>
        Discard(_readers.RunAsync(reader => reader.FindNames(numbers.Span, names.Span)));

    /// <inheritdoc/>
    public ValueTask<DirectoryUser?> FindAsync(uint number) => _readers.RunAsync(reader => reader.Search.Find(number));

    /// <inheritdoc/>
    public async ValueTask<bool> DeleteAsync(uint number)
    {
        var deleted = await _writer.RunAsync(() => _commands.Delete(number));
        if (deleted)
            _names.Changed(deleted: true);
        return deleted;
    }

    /// <inheritdoc/>
    public ValueTask<IReadOnlyList<uint>> DeletedNumbersAsync() => _readers.RunAsync(reader => reader.DeletedNumbers());

    /// <inheritdoc/>
    public ValueTask<DirectoryPage> SearchAsync(string query, int limit, string? cursor)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(limit, 1);
        return _readers.RunAsync(reader => reader.Search.Search(query, limit, cursor));
    }

    /// <inheritdoc/>
    public ValueTask<uint[]> SubscriptionsAsync(uint follower) => _readers.RunAsync(reader => reader.Subscriptions(follower));

    /// <inheritdoc/>
    public ValueTask<uint[]?> FollowAsync(uint follower, IReadOnlyList<uint> followed, bool follow, int limit) =>
        _writer.RunAsync(() => _commands.Follow(follower, followed, follow, limit), followed.Count);

    /// <inheritdoc/>
    public ValueTask SetManualStatusAsync(uint number, ManualStatus status) => Discard(_writer.RunAsync(() => _commands.SetManualStatus(number, status)));

    /// <inheritdoc/>
    public ValueTask<IReadOnlyList<KeyValuePair<uint, ManualStatus>>> ManualStatusesAsync() => _readers.RunAsync(reader => reader.ManualStatuses());

    /// <inheritdoc/>
    public ValueTask SetVisibilityAsync(uint number, OnlineVisibility? online, LastSeenVisibility? lastSeen) =>
        Discard(_writer.RunAsync(() => _commands.SetVisibility(number, online, lastSeen)));

    /// <inheritdoc/>
    public ValueTask<uint[]?> RelateAsync(uint number, Relation relation, IReadOnlyList<uint> others, bool add, int limit) =>
        _writer.RunAsync(() => _commands.Relate(number, relation, others, add, limit), others.Count);

    /// <inheritdoc/>
    public ValueTask<uint[]> WaitingAsync(uint number, uint from, int limit) => _readers.RunAsync(reader => reader.Waiting(number, from, limit));

    /// <inheritdoc/>
    public ValueTask<IReadOnlyList<KeyValuePair<uint, Visibility>>> VisibilitiesAsync() => _readers.RunAsync(reader => reader.Visibilities());

    /// <summary>Finishes what waits to be written, and lets the files go.</summary>
    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0)
            return;
        await _names.StopAsync();
        await _writer.FinishAsync();
        _commands.Dispose();
        await _readers.DisposeAsync();
        _names.Dispose();

        // last: only a connection that may write puts the WAL away when it is closed
        await _writer.DisposeAsync();
    }

    /// <summary>Merges the names that wait into the index now. For tests.</summary>
    internal Task IndexAsync() => _names.MergeAsync();

    /// <summary>How many names wait for the index.</summary>
    internal int NamesWaiting => _names.Tail.Count;

    /// <summary>Lets users.db have at most so many pages (0: as many as it has now), as a full disk would. For tests.</summary>
    internal ValueTask LimitPagesAsync(long pages) => Discard(_writer.RunAsync(() => _commands.LimitPages(pages)));

    private static async ValueTask Discard<T>(ValueTask<T> task) => await task;
}
