using Aglow.Model;
using Aglow.Users;
using Npgsql;

namespace Aglow.Postgres;

/// <summary>
/// Reads changes from the tables (<see cref="PostgresSchema"/>). The <see cref="PostgresWriter"/> calls it, on its own connection.
/// </summary>
internal static class PostgresChanges
{
    /// <summary>
    /// How long a complete read may take. A starting node waits for it, and the settings of millions of users take a while.
    /// </summary>
    public static readonly TimeSpan AllWithin = TimeSpan.FromMinutes(5);

    // How far back a deletion of old visibility rows looks. It runs often, so earlier runs have checked older rows. Those that remain
    // belong to users who approved or blocked somebody. When such a user removes the last relation, the row counts as changed again.
    private const long LookBackSeconds = 86_400;

    private const string Accounts = """
        SELECT idx, disabled, shown_last_seen, revoked_at, greatest(deleted_at, CASE WHEN deleted THEN revoked_at ELSE 0 END), deleting
        FROM aglow.account WHERE
        """;
    private const string Claims = "SELECT idx, source, status, text, emoji, until, priority, set_at, shown_last_seen FROM aglow.claim";

    /// <summary>Adds queries for the next index and for everything after a change number.</summary>
    public static void AddTo(NpgsqlBatch batch, long since)
    {
        batch.BatchCommands.Add(
            Sql.Statement($"{Claims} WHERE idx IN (SELECT idx FROM aglow.claim WHERE change > $1) ORDER BY idx", Sql.Number(since)));
        batch.BatchCommands.Add(Sql.Statement(Visibilities("change > $1"), Sql.Number(since)));
        batch.BatchCommands.Add(Sql.Statement($"{Accounts} change > $1", Sql.Number(since)));
        batch.BatchCommands.Add(Sql.Statement("SELECT next_index FROM aglow.state"));
    }

    /// <summary>Reads the results of <see cref="AddTo"/>. The reader is at the result before them.</summary>
    public static async Task<DirectoryChanges> ReadAsync(NpgsqlDataReader reader, uint from, bool isComplete, CancellationToken cancel)
    {
        await reader.NextResultAsync(cancel);
        var claims = await ReadClaimsAsync(reader, cancel);
        await reader.NextResultAsync(cancel);
        var visibilities = await ReadVisibilitiesAsync(reader, cancel);
        await reader.NextResultAsync(cancel);
        var accounts = await ReadAccountsAsync(reader, cancel);
        await reader.NextResultAsync(cancel);
        await reader.ReadAsync(cancel);
        return new DirectoryChanges(from, Math.Max(from, (uint)reader.GetInt64(0)), claims, visibilities, accounts, isComplete);
    }

    public const string AllClaims = $"{Claims} WHERE status >= 0 ORDER BY idx";

    public static readonly string AllVisibilities = Visibilities("true");

    public const string AllAccounts = $"{Accounts} disabled OR revoked_at <> 0";

    public static async Task<IReadOnlyList<KeyValuePair<uint, IReadOnlyList<Claim>>>> ReadClaimsAsync(
        NpgsqlDataReader reader, CancellationToken cancel)
    {
        var rows = new ClaimRows();
        while (await reader.ReadAsync(cancel))
            rows.Add((uint)reader.GetInt64(0), reader.GetInt16(2) < 0 ? null : ReadClaim(reader));
        return rows.ToList();
    }

    public static async Task<IReadOnlyList<KeyValuePair<uint, Visibility>>> ReadVisibilitiesAsync(
        NpgsqlDataReader reader, CancellationToken cancel)
    {
        var rows = new VisibilityRows();
        uint? last = null;
        while (await reader.ReadAsync(cancel))
        {
            var user = (uint)reader.GetInt64(0);
            if (user != last)
                rows.Add(user, (OnlineVisibility)reader.GetInt16(1), (LastSeenVisibility)reader.GetInt16(2));
            last = user;
            if (!reader.IsDBNull(3))
                rows.Add(user, (Relation)reader.GetInt16(3), (uint)reader.GetInt64(4));
        }

        return rows.ToList();
    }

    public static async Task<IReadOnlyList<KeyValuePair<uint, Account>>> ReadAccountsAsync(
        NpgsqlDataReader reader, CancellationToken cancel)
    {
        var accounts = new List<KeyValuePair<uint, Account>>();
        while (await reader.ReadAsync(cancel))
            accounts.Add(
                new(
                    (uint)reader.GetInt64(0),
                    new Account(
                        reader.GetBoolean(1), (uint)reader.GetInt64(2), reader.GetInt64(3), reader.GetInt64(4), reader.GetBoolean(5))));
        return accounts;
    }

    /// <summary>
    /// Deletes rows that were removed before this second (Unix time), because every node has read the removal. Any node may do it.
    /// </summary>
    public static async Task ForgetAsync(NpgsqlConnection connection, long before, CancellationToken cancel)
    {
        await using var batch = new NpgsqlBatch(connection);
        batch.BatchCommands.Add(Sql.Statement("DELETE FROM aglow.claim WHERE status < 0 AND changed_at < $1", Sql.Number(before)));
        batch.BatchCommands.Add(
            Sql.Statement("DELETE FROM aglow.account WHERE NOT disabled AND revoked_at = 0 AND changed_at < $1", Sql.Number(before)));
        batch.BatchCommands.Add(Sql.Statement(
            """
            DELETE FROM aglow.visibility WHERE online = 0 AND last_seen = 0 AND changed_at < $1 AND changed_at >= $2
            AND NOT EXISTS (SELECT FROM aglow.relation WHERE relation.idx = visibility.idx)
            """,
            Sql.Number(before),
            Sql.Number(before - LookBackSeconds)));
        await batch.ExecuteNonQueryAsync(cancel);
    }

    private static Claim? ReadClaim(NpgsqlDataReader reader) => Claim.Load(
        reader.GetString(1),
        (ClaimStatus)reader.GetInt16(2),
        reader.IsDBNull(3) ? null : reader.GetString(3),
        reader.IsDBNull(4) ? null : reader.GetString(4),
        (uint)reader.GetInt64(5),
        reader.GetInt32(6),
        reader.GetInt64(7),
        (uint)reader.GetInt64(8));

    // one statement, so that a user's settings and lists come from the same moment
    private static string Visibilities(string which) => $"""
        SELECT idx, online, last_seen, kind, other FROM aglow.visibility LEFT JOIN aglow.relation USING (idx)
        WHERE {which} ORDER BY idx, kind, other
        """;
}
