using Aglow.Model;

namespace Aglow.Client.Tests;

public class UserIdTests
{
    [Theory]
    [InlineData("0", 0)]
    [InlineData("42", 42)]
    [InlineData("3105550123", 3105550123)]
    [InlineData("9223372036854775807", long.MaxValue)]
    public void The_canonical_form_of_a_number_is_that_number(string text, long number)
    {
        UserId user = text;
        user.ShouldBe(UserId.Of(number));
        user.Key.ShouldBeNull();
        user.ToString().ShouldBe(text);
        JsonSerializer.Serialize(user).ShouldBe(text);
    }

    [Theory]
    [InlineData("042")]
    [InlineData("9223372036854775808")]
    [InlineData("+1")]
    [InlineData("1\u0301")]
    [InlineData("bob")]
    [InlineData("Zoë 🦊")]
    [InlineData("018f3f5e-7b1c-7000-8000-000000000000")]
    public void Anything_else_is_a_key(string text)
    {
        UserId user = text;
        user.Key.ShouldBe(text);
        user.Number.ShouldBe(0);
        JsonSerializer.Deserialize<UserId>(JsonSerializer.Serialize(user)).ShouldBe(user);
    }

    public static TheoryData<string> NoUsers => ["", "a\nb", "\0", "\u009F", new string('x', 256), new string('ë', 128)];

    [Theory]
    [MemberData(nameof(NoUsers))]
    public void What_can_be_neither_is_refused(string text)
    {
        UserId.TryParse(text, out _).ShouldBeFalse();
        Should.Throw<ArgumentException>(() => UserId.Parse(text)).Message.ShouldContain("1 to 255 bytes");
    }

    [Fact]
    public void Half_a_character_is_nobody() => UserId.TryParse("half \uD83E", out _).ShouldBeFalse();

    [Fact]
    public void The_longest_key_has_255_bytes() => UserId.TryParse(new string('ë', 127) + 'x', out _).ShouldBeTrue();

    [Fact]
    public void A_negative_number_is_nobody() => Should.Throw<ArgumentOutOfRangeException>(() => (UserId)int.Parse("-1"));
}
