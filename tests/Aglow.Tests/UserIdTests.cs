using System.Text;

namespace Aglow.Tests;

public class UserIdTests
{
    [Theory]
    [InlineData("0", 0u)]
    [InlineData("42", 42u)]
    [InlineData("2147483647", 2147483647u)]
    public void Canonical_digits_below_two_to_the_31_are_their_own_index(string text, uint number)
    {
        UserId.TryParse(text, out var user).ShouldBeTrue();
        user.ShouldBe(UserId.Of(number));
    }

    [Theory]
    [InlineData("042")]
    [InlineData("+42")]
    [InlineData("-1")]
    [InlineData("2147483648")]
    [InlineData("4294967295")]
    [InlineData("4294967296")]
    [InlineData("9223372036854775807")]
    [InlineData("9223372036854775808")]
    [InlineData("4.2")]
    [InlineData("1e3")]
    [InlineData(" 42")]
    [InlineData("bob")]
    [InlineData("Åsa 🌞")]
    public void Any_other_text_is_an_id_without_an_index_of_its_own(string text)
    {
        UserId.TryParse(text, out var user).ShouldBeTrue();
        user.Key.ShouldBe(text);
    }

    [Theory]
    [InlineData("")]
    [InlineData("a\nb")]
    [InlineData("a\0")]
    [InlineData("\u007f")]
    [InlineData("\u0085")]
    public void Empty_and_control_characters_are_nobody(string text) => UserId.TryParse(text, out _).ShouldBeFalse();

    [Fact]
    public void Half_a_surrogate_pair_is_nobody_and_the_replacement_character_is_somebody()
    {
        // as characters, because an attribute could not hold them
        foreach (var half in (char[])['\ud800', '\udbff', '\udc00', '\udfff'])
        {
            UserId.TryParse($"{half}", out _).ShouldBeFalse();
            UserId.TryParse($"ann{half}", out _).ShouldBeFalse();
            UserId.TryParse($"{half}ann", out _).ShouldBeFalse();
        }

        UserId.TryParse("ann\ufffd", out _).ShouldBeTrue();
        UserId.TryParse("ann\ud83c\udf1e", out _).ShouldBeTrue();
    }

    [Theory]
    [InlineData(42)]
    [InlineData(2147483647)]
    [InlineData(2147483648)]
    [InlineData(long.MaxValue)]
    public void The_canonical_text_of_an_integer_is_that_integer(long id)
    {
        UserId.TryParse(id.ToString(), out var user).ShouldBeTrue();
        user.ShouldBe(UserId.Of(id));
        UserId.IsInteger(Encoding.UTF8.GetBytes(id.ToString())).ShouldBeTrue();
    }

    [Theory]
    [InlineData("-1")]
    [InlineData("042")]
    [InlineData("9223372036854775808")]
    [InlineData("1.0")]
    [InlineData("1e3")]
    [InlineData("")]
    public void Other_numbers_are_no_integer_ids(string text) => UserId.IsInteger(Encoding.UTF8.GetBytes(text)).ShouldBeFalse();

    [Fact]
    public void An_id_has_at_most_255_bytes()
    {
        UserId.TryParse(new string('x', 255), out _).ShouldBeTrue();
        UserId.TryParse(new string('x', 256), out _).ShouldBeFalse();
        UserId.TryParse(new string('é', 128), out _).ShouldBeFalse();
    }

    [Fact]
    public void An_index_whose_id_is_unknown_or_wrong_is_nobody()
    {
        UserId.OfIndex(42, null).ShouldBe(UserId.Of(42));
        UserId.OfIndex(UserId.FirstDirectoryNumber - 1, null).ShouldBe(UserId.Of(int.MaxValue));
        UserId.OfIndex(UserId.FirstDirectoryNumber, "ann").ShouldBe(UserId.Parse("ann"));
        UserId.OfIndex(UserId.FirstDirectoryNumber, null).ShouldBeNull();
        UserId.OfIndex(UserId.FirstDirectoryNumber, "\u0001ann").ShouldBeNull();
    }

    [Fact]
    public void Broken_utf8_is_no_id() => UserId.IsKey([0x62, 0xC0, 0xAF]).ShouldBeFalse();
}
