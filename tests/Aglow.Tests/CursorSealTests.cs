using System.Buffers.Text;

namespace Aglow.Tests;

/// <summary>A cursor shows nothing, and only the server that made it accepts it, for the list that it belongs to.</summary>
public class CursorSealTests
{
    private static readonly CursorSeal Seal = new(new byte[16]);

    [Fact]
    public void A_cursor_opens_for_its_own_list_only()
    {
        var cursor = Seal.Seal("7 2147483648", "/online");
        Seal.Open(cursor, "/online").ShouldBe("7 2147483648");
        Seal.Open(cursor, "/users\nann").ShouldBeNull();
        new CursorSeal(new byte[] { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 }).Open(cursor, "/online").ShouldBeNull();
        // two cursors of one place do not show that they are the same
        Seal.Seal("7 2147483648", "/online").ShouldNotBe(cursor);
    }

    [Fact]
    public void No_byte_of_a_cursor_can_be_changed()
    {
        var cursor = Base64Url.DecodeFromChars(Seal.Seal("7 2147483648", "/online"));
        for (var at = 0; at < cursor.Length; at++)
        {
            var forged = cursor.ToArray();
            forged[at] ^= 1;
            Seal.Open(Base64Url.EncodeToString(forged), "/online").ShouldBeNull($"byte {at}");
            Seal.Open(Base64Url.EncodeToString(cursor.AsSpan(0, at)), "/online").ShouldBeNull($"{at} bytes");
        }
    }
}
