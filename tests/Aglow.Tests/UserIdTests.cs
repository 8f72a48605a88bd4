using System.Text;
using Aglow.Model;

namespace Aglow.Tests;

public class UserIdTests
{
    [Theory]
    [InlineData("0", 0u)]
    [InlineData("42", 42u)]
    [InlineData("4294967295", uint.MaxValue)]
    public void Canonical_digits_are_a_number(string text, uint number)
    {
        UserId.TryParse(text, out var user).ShouldBeTrue();
        user.ShouldBe(UserId.Of(number));
    }

    [Theory]
    [InlineData("042")]
    [InlineData("+42")]
    [InlineData("-1")]
    [InlineData("4294967296")]
    [InlineData("4.2")]
    [InlineData("1e3")]
    [InlineData(" 42")]
    [InlineData("bob")]
    [InlineData("Åsa 🌞")]
    public void Any_other_text_is_a_key(string text)
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
    public void A_key_has_at_most_128_bytes()
    {
        UserId.TryParse(new string('x', 128), out _).ShouldBeTrue();
        UserId.TryParse(new string('x', 129), out _).ShouldBeFalse();
        UserId.TryParse(new string('é', 65), out _).ShouldBeFalse();
    }

    [Fact]
    public void Broken_utf8_is_no_key() => UserId.IsKey([0x62, 0xC0, 0xAF]).ShouldBeFalse();
}
