using Aglow.Sqlite;
using Microsoft.Data.Sqlite;

namespace Aglow.Users;

/// <summary>What one round adds to <see cref="NameIndex"/>: the names that waited, sorted for each table, so that each page is touched once.</summary>
internal sealed class NameRound
{
    private readonly NameTail.View[] _views;
    private readonly uint _from;

    /// <summary>Those of <paramref name="views"/> above <paramref name="indexedTo"/>.</summary>
    public NameRound(NameTail.View[] views, uint indexedTo)
    {
        _views = views;
        _from = indexedTo;
        To = views.Length == 0 ? indexedTo : Math.Max(indexedTo, views[^1].Numbers[views[^1].Count - 1]);
    }

    /// <summary>The highest number in the round.</summary>
    public uint To { get; }

    /// <summary>Inserts all but <paramref name="except"/>.</summary>
    public void Insert(SqliteConnection connection, HashSet<uint> except, CancellationToken stopping)
    {
        var hashes = new List<long>();
        var fields = new List<NameField>();
        using (var gram = new SqliteStatement(connection, "INSERT INTO gram (rowid, text) VALUES (?1, ?2)"))
        {
            foreach (var view in _views)
            {
                stopping.ThrowIfCancellationRequested();
                for (var user = view.After(_from); user < view.Count; user++)
                {
                    var number = view.Numbers[user];
                    if (except.Contains(number))
                        continue;
                    gram.Bind(1, number).BindText(2, view.Fields(user)[1..]).Run();
                    hashes.Add(NameIndex.HashId(view.Hashes[user], number));
                }

                fields.AddRange(NameField.Of(view, view.After(_from)));
            }
        }

        hashes.Sort();
        using (var hash = new SqliteStatement(connection, "INSERT INTO hash VALUES (?1)"))
        {
            for (var i = 0; i < hashes.Count; i++)
            {
                if (i % 4096 == 0)
                    stopping.ThrowIfCancellationRequested();
                hash.Bind(1, hashes[i]).Run();
            }
        }

        fields.Sort(NameField.Compare);
        using var beginning = new SqliteStatement(connection, "INSERT INTO beginning VALUES (?1, ?2, ?3)");
        for (var i = 0; i < fields.Count; i++)
        {
            if (i % 4096 == 0)
                stopping.ThrowIfCancellationRequested();
            if (!except.Contains(fields[i].Number))
                beginning.BindText(1, fields[i].Text).Bind(2, fields[i].Number).Bind(3, fields[i].Shared).Run();
        }
    }
}
