using System.Buffers.Binary;
using Microsoft.Data.Sqlite;

namespace Aglow;

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
        var beginnings = new List<Beginning>();
        using (var gram = new SqliteStatement(connection, "INSERT INTO gram (rowid, text) VALUES (?1, ?2)"))
        {
            for (var v = 0; v < _views.Length; v++)
            {
                var view = _views[v];
                stopping.ThrowIfCancellationRequested();
                for (var user = view.After(_from); user < view.Count; user++)
                {
                    var number = view.Numbers[user];
                    if (except.Contains(number))
                        continue;
                    var text = view.Fields(user)[1..];
                    gram.Bind(1, number).BindText(2, text).Run();
                    hashes.Add(NameIndex.HashId(view.Hashes[user], number));
                    foreach (var field in text.Split(FoldedText.Separator))
                    {
                        var (start, length) = field.GetOffsetAndLength(text.Length);
                        beginnings.Add(new Beginning(view.Text, view.Start(user) + 1 + start, length, number));
                    }
                }
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

        beginnings.Sort(Beginning.Compare);
        using var beginning = new SqliteStatement(connection, "INSERT INTO beginning VALUES (?1, ?2)");
        for (var i = 0; i < beginnings.Count; i++)
        {
            if (i % 4096 == 0)
                stopping.ThrowIfCancellationRequested();
            beginning.BindText(1, beginnings[i].Text).Bind(2, beginnings[i].Number).Run();
        }
    }

    /// <summary>A folded field and whose it is; in the order of its bytes, which is the order of its characters. Its first eight decide most comparisons.</summary>
    private readonly struct Beginning
    {
        private readonly byte[] _text;
        private readonly int _start;
        private readonly int _length;
        private readonly ulong _first;

        public Beginning(byte[] text, int start, int length, uint number)
        {
            _text = text;
            _start = start;
            _length = length;
            Number = number;
            Span<byte> first = stackalloc byte[8];
            first.Clear();
            text.AsSpan(start, Math.Min(length, 8)).CopyTo(first);
            _first = BinaryPrimitives.ReadUInt64BigEndian(first);
        }

        public uint Number { get; }

        public ReadOnlySpan<byte> Text => _text.AsSpan(_start, _length);

        public static int Compare(Beginning a, Beginning b)
        {
            var order = a._first.CompareTo(b._first);
            if (order == 0)
                order = a.Text.SequenceCompareTo(b.Text);
            return order != 0 ? order : a.Number.CompareTo(b.Number);
        }
    }
}
