using Aglow.Model;
using Aglow.Users;
using Npgsql;

namespace Aglow.Postgres;

/// <summary>What the tables (<see cref="PostgresSchema"/>) say of changes; asked by the <see cref="PostgresWriter"/>, on its connection.</summary>
internal static class PostgresChanges
{
    /// <summary>How long reading everything may take: what millions of users show is more than an answer's worth, and a node that starts waits for it.</summary>
    public static readonly TimeSpan AllWithin = TimeSpan.FromMinutes(5);

    // what was undone before that was looked at by then: those who have approved or blocked somebody are left, and need not be looked at for ever
    private const long LookBackSeconds = 86_400;

    /// <summary>The last change, and the next number.</summary>
    public static async Task<(long Change, uint Next)> ReadStateAsync(NpgsqlConnection connection)
    {
        await using var command = new NpgsqlCommand("SELECT change, next_number FROM aglow.state", connection);
        await using var reader = await command.ExecuteReaderAsync();
        await reader.ReadAsync();
        return (reader.GetInt64(0), (uint)reader.GetInt64(1));
    }

    /// <summary>Asks what users show, of those where that changed after a change; for <see cref="ReadVisibilitiesAsync"/>.</summary>
    public static NpgsqlBatchCommand VisibilitiesSince(long change) => Sql.Statement(Visibilities("change > $1"), Sql.Number(change));

    /// <summary>The same, of those where this transaction changed it.</summary>
    public static NpgsqlBatchCommand VisibilitiesOfThisChange() => Sql.Statement(Visibilities("change = (SELECT change FROM aglow.state)"));

    /// <summary>Reads what users show.</summary>
    public static async Task<IReadOnlyList<KeyValuePair<uint, Visibility>>> ReadVisibilitiesAsync(NpgsqlDataReader reader)
    {
        var rows = new VisibilityRows();
        uint? last = null;
        while (await reader.ReadAsync())
        {
            var number = (uint)reader.GetInt64(0);
            if (number != last)
                rows.Add(number, (OnlineVisibility)reader.GetInt16(1), (LastSeenVisibility)reader.GetInt16(2));
            last = number;
            if (!reader.IsDBNull(3))
                rows.Add(number, (Relation)reader.GetInt16(3), (uint)reader.GetInt64(4));
        }

        return rows.ToList();
    }

    /// <summary>Whose names, statuses and visibilities changed after a change; of the deleted nothing where <paramref name="isComplete"/>.</summary>
    public static async Task<(
        List<KeyValuePair<uint, string>> Deleted,
        List<KeyValuePair<uint, ManualStatus>> Statuses,
        IReadOnlyList<KeyValuePair<uint, Visibility>> Visibilities)> ReadAsync(NpgsqlConnection connection, long since, bool isComplete)
    {
        var deleted = new List<KeyValuePair<uint, string>>();
        var statuses = new List<KeyValuePair<uint, ManualStatus>>();
        await using var batch = new NpgsqlBatch(connection);
        if (isComplete)
            batch.Timeout = (int)AllWithin.TotalSeconds;
        batch.BatchCommands.Add(Sql.Statement("SELECT number, kind, shown_last_seen FROM aglow.manual_status WHERE change > $1", Sql.Number(since)));
        batch.BatchCommands.Add(VisibilitiesSince(since));
        // who forgets every key need not be told which
        if (!isComplete)
            batch.BatchCommands.Add(Sql.Statement("SELECT number, name FROM aglow.deleted WHERE change > $1 AND name IS NOT NULL", Sql.Number(since)));

        await using var reader = await batch.ExecuteReaderAsync();
        while (await reader.ReadAsync())
            statuses.Add(new((uint)reader.GetInt64(0), new ManualStatus((ManualStatusKind)reader.GetInt16(1), (uint)reader.GetInt64(2))));
        await reader.NextResultAsync();
        var visibilities = await ReadVisibilitiesAsync(reader);
        await reader.NextResultAsync();
        while (await reader.ReadAsync())
            deleted.Add(new((uint)reader.GetInt64(0), reader.GetString(1)));
        return (deleted, statuses, visibilities);
    }

    /// <summary>Forgets what was undone before this second (Unix time), which everybody has heard of: the names of the deleted, statuses and visibilities that were taken back. Any node may do it.</summary>
    public static async Task ForgetAsync(NpgsqlConnection connection, long before)
    {
        await using var batch = new NpgsqlBatch(connection);
        batch.BatchCommands.Add(Sql.Statement("DELETE FROM aglow.manual_status WHERE kind = 0 AND changed_at < $1", Sql.Number(before)));
        batch.BatchCommands.Add(Sql.Statement(
            """
            DELETE FROM aglow.visibility WHERE online = 0 AND last_seen = 0 AND changed_at < $1 AND changed_at >= $2
            AND NOT EXISTS (SELECT FROM aglow.relation WHERE relation.number = visibility.number)
            """,
            Sql.Number(before),
            Sql.Number(before - LookBackSeconds)));
        batch.BatchCommands.Add(Sql.Statement("UPDATE aglow.deleted SET name = NULL WHERE name IS NOT NULL AND deleted_at < $1", Sql.Number(before)));
        await batch.ExecuteNonQueryAsync();
    }

    // one statement, so that nobody's settings are of before a change and their lists of after it
    private static string Visibilities(string which) => $"""
        SELECT number, online, last_seen, kind, other FROM aglow.visibility LEFT JOIN aglow.relation USING (number)
        WHERE {which} ORDER BY number, kind, other
        """;
}
