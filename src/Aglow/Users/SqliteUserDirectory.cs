using Aglow.Sqlite;
using Microsoft.Data.Sqlite;

namespace Aglow.Users;

/// <summary>The user directory of a single machine: <c>users.db</c>.</summary>
/// <remarks>
/// <code>
/// RegisterAsync, WriteProfilesAsync, ... ─► SqliteWriter (one thread, group commit) ─► users.db
/// FindIndexesAsync, SearchAsync, ...     ─► a reader of the pool                    ─► users.db
/// the same of OfActs                     ─► a reader of a pool of its own           ─► users.db
///
/// id             index (from 2^31 up), ID; never deleted, so that an index always belongs to the same ID
/// profile        index, user name, display name, their unique and searched forms, times
/// profile_text   FTS5 with the trigram tokenizer over the searched forms; stores no text of its own, and fills one page at a time (pgsz)
/// account        index, whether disabled, when tokens were revoked
/// subscription   follower, followed; indexed both ways
/// claim          index, source, status and text, last seen to show; an ended claim stays until the user's next one
/// visibility     index, who may see them online, how exact their last seen is
/// relation       index, approved or blocked, index of the other user
/// secret         the key that encrypts cursors
/// </code>
/// Any number of callers at once. Reads run on the caller's thread, a few at a time.
/// </remarks>
public sealed class SqliteUserDirectory : IUserDirectory
{
    internal const string FileName = "users.db";

    private const int ApplicationId = 0x41477573; // "AGus"
    private const int SchemaVersion = 4;
    private const int SealedFrom = 4;

    // IDs that one read looks up: it takes about a millisecond
    private const int Slice = 200;

    private const string ClaimTable = """
        CREATE TABLE claim (
            user INTEGER, source TEXT, status INTEGER NOT NULL, text TEXT, emoji TEXT, until INTEGER NOT NULL, priority INTEGER NOT NULL,
            set_at INTEGER NOT NULL, shown_last_seen INTEGER NOT NULL, PRIMARY KEY (user, source)) WITHOUT ROWID
        """;
    private const string Schema = $"""
        CREATE TABLE id (user INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE);
        CREATE TABLE profile (
            user INTEGER PRIMARY KEY, user_name TEXT, display_name TEXT, name_key TEXT UNIQUE, user_search TEXT, display_search TEXT,
            created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL);
        CREATE INDEX profile_user ON profile (user_search, user) WHERE user_search IS NOT NULL;
        CREATE INDEX profile_display ON profile (display_search, user) WHERE display_search IS NOT NULL;
        CREATE VIRTUAL TABLE profile_text USING fts5 (names, content = '', contentless_delete = 1,
            tokenize = 'trigram remove_diacritics 1');
        INSERT INTO profile_text (profile_text, rank) VALUES ('pgsz', 1950);
        CREATE TABLE account (
            user INTEGER PRIMARY KEY, disabled INTEGER NOT NULL, shown_last_seen INTEGER NOT NULL, revoked_at INTEGER NOT NULL,
            deleted INTEGER NOT NULL);
        CREATE TABLE subscription (follower INTEGER, followed INTEGER, PRIMARY KEY (follower, followed)) WITHOUT ROWID;
        CREATE INDEX subscription_followed ON subscription (followed, follower);
        {ClaimTable};
        CREATE TABLE visibility (user INTEGER PRIMARY KEY, online INTEGER NOT NULL, last_seen INTEGER NOT NULL);
        CREATE TABLE relation (user INTEGER, kind INTEGER, other INTEGER, PRIMARY KEY (user, kind, other)) WITHOUT ROWID;
        CREATE TABLE secret (cursors BLOB NOT NULL);
        INSERT INTO secret VALUES (randomblob(16))
        """;

    // version 2 had only the person's own choice
    private const string UpgradeFrom2 = $"""
        {ClaimTable};
        INSERT INTO claim SELECT user, '{Claim.UserSource}', kind, NULL, NULL, 0, 0, 0, shown_last_seen FROM manual_status;
        DROP TABLE manual_status
        """;

    private readonly SqliteWriter _writer;
    private readonly UserCommands _commands;
    private readonly UserReaders _readers;
    private readonly FolderWatch? _watch;
    private readonly string _path;
    private SqliteUserDirectory? _ofActs;
    private int _disposed;

    private SqliteUserDirectory(
        SqliteWriter writer, UserCommands commands, UserReaders readers, byte[] cursorSecret, FolderWatch? watch, string path)
    {
        _watch = watch;
        _path = path;
        CursorSecret = cursorSecret;
        _writer = writer;
        _commands = commands;
        _readers = readers;
    }

    /// <inheritdoc/>
    public uint NextIndex => _commands.NextIndex;

    /// <inheritdoc/>
    public ReadOnlyMemory<byte> CursorSecret { get; }

    /// <inheritdoc/>
    public IUserDirectory OfActs => _ofActs ?? this;

    /// <inheritdoc/>
    public void Observe(AglowMetrics metrics)
    {
        metrics.CountErrors("directory", () => Failures);
        metrics.Gauge("aglow.directory.failing", "1 while the server cannot write users.db.", () => IsFailing ? 1 : 0);
    }

    /// <inheritdoc cref="SqliteWriter.IsFailing"/>
    internal bool IsFailing => _writer.IsFailing;

    /// <summary>Writes that SQLite rejected.</summary>
    public long Failures => _writer.Failures;

    /// <summary>
    /// Opens the directory in a folder that this process holds (<c>DataFolder</c>), and creates what is missing. Throws
    /// <see cref="DataFolderException"/> if it cannot be used.
    /// </summary>
    public static SqliteUserDirectory Open(string folder, TimeProvider time) => Open(folder, time, null);

    /// <summary>The same, in a folder that is watched.</summary>
    internal static SqliteUserDirectory Open(string folder, TimeProvider time, FolderWatch? watch, AglowLog? log = null)
    {
        var file = OpenFile(folder);
        SqliteConnection? connection = null;
        try
        {
            connection = file.ConnectToWrite(cacheKibibytes: 128 * 1024);
            var secret = ReadSecret(connection, file.Path);
            var commands = new UserCommands(connection, time);
            var writer = new SqliteWriter(connection, file, commands.Committed, watch, log);
            commands.OnUndo = writer.OnUndo;
            watch?.Add(file.Path);
            file.Seal.Watch = watch;
            var seal = new CursorSeal(secret);
            return new SqliteUserDirectory(writer, commands, new UserReaders(file, seal, 32 * 1024), secret, watch, file.Path)
            {
                _ofActs = new SqliteUserDirectory(writer, commands, new UserReaders(file, seal, 4 * 1024), secret, watch, file.Path),
            };
        }
        catch (Exception e) when (e is SqliteException or DataFolderException)
        {
            connection?.Dispose();
            file.Dispose();
            throw e is SqliteException sqlite ? FileProblem.Explain(file.Path, sqlite) : e;
        }
    }

    /// <summary>Opens the file, checks it, and makes it if it is not there.</summary>
    internal static SqliteFile OpenFile(string folder) =>
        SqliteFile.Open(folder, FileName, ApplicationId, SchemaVersion, Schema, SealedFrom, (2, UpgradeFrom2));

    /// <inheritdoc/>
    public ValueTask<int> RegisterAsync(IReadOnlyList<string> ids, Memory<uint> indexes) =>
        _writer.RunAsync(() => _commands.Register(ids, indexes.Span), ids.Count);

    /// <inheritdoc/>
    public ValueTask FindIndexesAsync(IReadOnlyList<string> ids, Memory<uint> indexes) => InSlicesAsync(
        ids.Count, (from, count) => _readers.RunAsync(reader => reader.FindIndexes(ids, from, indexes.Span.Slice(from, count))));

    /// <inheritdoc/>
    public ValueTask FindIdsAsync(ReadOnlyMemory<uint> indexes, Memory<string?> ids) => InSlicesAsync(
        indexes.Length,
        (from, count) => _readers.RunAsync(reader => reader.FindIds(indexes.Span.Slice(from, count), ids.Span.Slice(from, count))));

    /// <inheritdoc/>
    public ValueTask<Profile?> FindProfileAsync(uint user) => _readers.RunAsync(reader => reader.FindProfile(user));

    /// <inheritdoc/>
    public async ValueTask<ProfileResult> WriteProfilesAsync(IReadOnlyList<ProfileWrite> writes, bool create)
    {
        try
        {
            return await _writer.RunAsync(() => _commands.WriteProfiles(writes, create), writes.Count);
        }
        catch (ProfileConflictException e)
        {
            return e.Result;
        }
    }

    /// <inheritdoc/>
    public ValueTask<DirectoryPage> SearchAsync(string query, int limit, string? cursor)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(limit, 1);
        return _readers.RunAsync(reader => reader.Search(query, limit, cursor));
    }

    /// <inheritdoc/>
    public ValueTask DeleteAsync(uint user, long at) => _writer.RunAsync(() => _commands.Delete(user, at));

    /// <inheritdoc/>
    public ValueTask HoldDeletionsAsync(long now) => _writer.RunAsync(() => _commands.HoldDeletions(now));

    /// <inheritdoc/>
    public ValueTask NoteDeletionAsync(uint user, long at) => _writer.RunAsync(() => _commands.NoteDeletion(user, at, hasEnded: false));

    /// <inheritdoc/>
    public ValueTask RevokeAsync(uint user, long at) => _writer.RunAsync(() => _commands.Revoke(user, at));

    /// <inheritdoc/>
    public ValueTask SetDisabledAsync(uint user, bool disabled, uint shownLastSeen) =>
        _writer.RunAsync(() => _commands.SetDisabled(user, disabled, shownLastSeen));

    /// <inheritdoc/>
    public ValueTask<IReadOnlyList<KeyValuePair<uint, Account>>> AccountsAsync() => _readers.RunAsync(reader => reader.Accounts());

    /// <inheritdoc/>
    public ValueTask<uint[]> SubscriptionsAsync(uint follower) => _readers.RunAsync(reader => reader.Subscriptions(follower));

    /// <inheritdoc/>
    public ValueTask<uint[]?> FollowAsync(uint follower, IReadOnlyList<uint> followed, bool follow, int limit) =>
        _writer.RunAsync(() => _commands.Follow(follower, followed, follow, limit), followed.Count);

    /// <inheritdoc/>
    public ValueTask<bool> SetClaimAsync(uint user, Claim claim, uint now) => _writer.RunAsync(() => _commands.SetClaim(user, claim, now));

    /// <inheritdoc/>
    public ValueTask RemoveClaimAsync(uint user, string source) => _writer.RunAsync(() => _commands.RemoveClaim(user, source));

    /// <inheritdoc/>
    public ValueTask<IReadOnlyList<KeyValuePair<uint, IReadOnlyList<Claim>>>> ClaimsAsync() => _readers.RunAsync(reader => reader.Claims());

    /// <inheritdoc/>
    public ValueTask SetVisibilityAsync(uint user, OnlineVisibility? online, LastSeenVisibility? lastSeen) =>
        _writer.RunAsync(() => _commands.SetVisibility(user, online, lastSeen));

    /// <inheritdoc/>
    public ValueTask<uint[]?> RelateAsync(uint user, Relation relation, IReadOnlyList<uint> others, bool add, int limit) =>
        _writer.RunAsync(() => _commands.Relate(user, relation, others, add, limit), others.Count);

    /// <inheritdoc/>
    public ValueTask<uint[]> WaitingAsync(uint user, uint from, int limit) =>
        _readers.RunAsync(reader => reader.Waiting(user, from, limit));

    /// <inheritdoc/>
    public ValueTask<IReadOnlyList<KeyValuePair<uint, Visibility>>> VisibilitiesAsync() =>
        _readers.RunAsync(reader => reader.Visibilities());

    /// <summary>Finishes waiting writes and closes the file.</summary>
    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0)
            return;
        await _writer.FinishAsync();
        _watch?.Remove(_path);
        _commands.Dispose();
        await _readers.DisposeAsync();
        if (_ofActs is not null)
            await _ofActs._readers.DisposeAsync();

        // last: only a connection that may write removes the WAL when it closes
        await _writer.DisposeAsync();
    }

    /// <summary>Limits users.db to this many pages (0: as many as it has now), to simulate a full disk. For tests.</summary>
    internal ValueTask LimitPagesAsync(long pages) => _writer.RunAsync(() => _commands.LimitPages(pages));

    private static byte[] ReadSecret(SqliteConnection connection, string path)
    {
        using var row = new SqliteStatement(connection, "SELECT cursors FROM secret");
        return row.Step() && row.Blob(0) is { Length: 16 } secret
            ? secret.ToArray()
            : throw FileProblem.Damaged(path, "its secret is gone");
    }

    // Other callers may read between two slices. One read of ten thousand IDs would delay a heartbeat by tens of milliseconds.
    private static async ValueTask InSlicesAsync(int count, Func<int, int, ValueTask<int>> read)
    {
        for (var from = 0; from < count; from += Slice)
        {
            await read(from, Math.Min(Slice, count - from));
            if (from + Slice < count)
                await Task.Yield();
        }
    }
}
