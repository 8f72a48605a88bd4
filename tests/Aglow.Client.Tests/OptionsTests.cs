namespace Aglow.Client.Tests;

public class OptionsTests
{
    private static AglowClientOptions Options => new(new Uri("http://presence.example"));

    [Theory]
    [InlineData("ftp://presence.example")]
    [InlineData("http://presence.example/?a=1")]
    [InlineData("http://presence.example/#a")]
    [InlineData("http://me:secret@presence.example/")]
    public void An_address_that_is_none_is_refused_at_once(string address) =>
        Should.Throw<ArgumentException>(() => new AglowClientOptions(new Uri(address))).Message.ShouldContain("set http://HOST:PORT");

    [Fact]
    public void A_prefix_keeps_its_place_whether_or_not_it_ends_with_a_slash() =>
        new AglowClientOptions(new Uri("http://chat.example/presence")).Address.AbsoluteUri.ShouldBe("http://chat.example/presence/");

    [Fact]
    public void Times_are_longer_than_nothing()
    {
        Should.Throw<ArgumentOutOfRangeException>(() => Options with { RetryWithin = TimeSpan.Zero });
        Should.Throw<ArgumentOutOfRangeException>(() => Options with { ConnectTimeout = TimeSpan.FromDays(2) });
        Should.Throw<ArgumentOutOfRangeException>(() => Options with { SilenceLimit = -TimeSpan.FromSeconds(1) });
    }

    [Fact]
    public void Waits_that_contradict_each_other_are_refused_by_the_client() =>
        Should.Throw<ArgumentException>(() => new AglowClient(Options with { FirstRetryWithin = TimeSpan.FromMinutes(1) }))
            .Message.ShouldContain("set it at least as long");
}
