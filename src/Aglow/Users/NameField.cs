using System.Buffers.Binary;

namespace Aglow.Users;

/// <summary>
/// A folded name or display name in the <see cref="NameTail"/>, and whose it is; sorts by its bytes, which is by its characters, then by the
/// number. Its first eight bytes decide most comparisons without a look at the text.
/// </summary>
internal readonly struct NameField
{
    private readonly byte[] _text;
    private readonly int _length;
    private readonly ulong _first;

    private NameField(in NameTail.View view, int start, int length, int user, int shared)
    {
        _text = view.Text;
        _length = length;
        Start = start;
        User = user;
        Number = view.Numbers[user];
        Shared = shared;
        Span<byte> first = stackalloc byte[8];
        first.Clear();
        Text[..Math.Min(length, 8)].CopyTo(first);
        _first = BinaryPrimitives.ReadUInt64BigEndian(first);
    }

    /// <summary>Where it begins in its segment's text.</summary>
    public int Start { get; }

    /// <summary>The user's place in the segment.</summary>
    public int User { get; }

    public uint Number { get; }

    /// <summary>For a display name: of how many bytes the name begins as it does, so that a query as short finds the name. -1 for the name.</summary>
    public int Shared { get; }

    public ReadOnlySpan<byte> Text => _text.AsSpan(Start, _length);

    /// <summary>All fields of the users of a view from a place on.</summary>
    public static List<NameField> Of(in NameTail.View view, int fromUser)
    {
        var fields = new List<NameField>((view.Count - fromUser) * 3 / 2);
        for (var user = fromUser; user < view.Count; user++)
        {
            var start = view.Start(user) + 1;
            var name = view.Field(start, user);
            fields.Add(new NameField(view, start, name.Length, user, -1));
            start += name.Length + 1;
            if (start < view.Ends[user])
            {
                var displayName = view.Field(start, user);
                fields.Add(new NameField(view, start, displayName.Length, user, name.CommonPrefixLength(displayName)));
            }
        }

        return fields;
    }

    public static int Compare(NameField a, NameField b)
    {
        var order = a._first.CompareTo(b._first);
        if (order == 0)
            order = a.Text.SequenceCompareTo(b.Text);
        return order != 0 ? order : a.Number.CompareTo(b.Number);
    }
}
