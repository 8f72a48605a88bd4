namespace Aglow.Benchmarks.Tests;

public class SettingsTests
{
    private static readonly Option[] Options =
        [new("users", "10m", "how many"), new("steps", "1,10k", "several"), new("parts", "all", "which"), new("tune", "no", "whether")];

    [Theory]
    [InlineData("--users", "many", "--users many")]
    [InlineData("--users", "1.5", "--users 1.5")]
    [InlineData("--users", "-1", "--users -1")]
    [InlineData("--steps", "1,x", "--steps x")]
    [InlineData("--people", "1", "unknown option --people")]
    public void What_cannot_be_right_is_refused_before_anything_starts(string name, string value, string said) =>
        Should.Throw<UsageException>(() => Settings.Parse(Options, [name, value])).Message.ShouldStartWith(said);

    [Fact]
    public void Numbers_are_short_and_texts_are_anything()
    {
        var settings = Settings.Parse(Options, ["--users", "1b", "--steps=2,3k", "--tune", "--parts", "a,b"]);
        settings.Number("users").ShouldBe(1_000_000_000);
        settings.Numbers("steps").ShouldBe([2, 3000]);
        settings.Text("tune").ShouldBe("yes");
        settings.Text("parts").ShouldBe("a,b");
    }
}
