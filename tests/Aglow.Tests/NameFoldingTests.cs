namespace Aglow.Tests;

public class NameFoldingTests
{
    [Theory]
    [InlineData("Bob", "bob")]
    [InlineData("jürg", "ju\u0308rg")]
    [InlineData("STRASSE", "Straße")]
    [InlineData("ＢＯＢ", "bob")]
    [InlineData("ﬁn", "FIN")]
    [InlineData("ΣΑΣ", "σας")]
    [InlineData("각", "\u1100\u1161\u11A8")]
    [InlineData("a\u0301\u0323", "a\u0323\u0301")]
    [InlineData("bo\u200Bb", "bob")]
    public void Names_that_differ_in_case_width_or_form_are_the_same(string one, string other) =>
        NameFolding.ForUniqueness(one).ShouldBe(NameFolding.ForUniqueness(other));

    [Theory]
    [InlineData("jurg", "jürg")]
    [InlineData("bob", "b0b")]
    [InlineData("가", "각")]
    [InlineData("и", "й")]
    public void Other_names_are_not_the_same(string one, string other) =>
        NameFolding.ForUniqueness(one).ShouldNotBe(NameFolding.ForUniqueness(other));

    [Theory]
    [InlineData("Jürg Åström", "jurg astrom")]
    [InlineData("ju\u0308rg", "jurg")]
    [InlineData("Zażółć", "zazołc")]
    [InlineData("a\nb", "a\uFFFDb")]
    [InlineData("🌞", "🌞")]
    public void Search_does_not_see_accents(string name, string folded) => NameFolding.ForSearch(name).ShouldBe(folded);

    [Fact]
    public void Folding_twice_changes_nothing_more()
    {
        for (var c = 0; c < 0x20000; c++)
        {
            if (!System.Text.Rune.IsValid(c))
                continue;
            var once = NameFolding.ForUniqueness(new System.Text.Rune(c).ToString());
            NameFolding.ForUniqueness(once).ShouldBe(once);
        }
    }
}
