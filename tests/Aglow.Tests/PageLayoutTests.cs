using FsCheck;
using FsCheck.Fluent;

namespace Aglow.Tests;

public class PageLayoutTests
{
    /// <summary>Any 32-bit number, all equally likely.</summary>
    internal static Gen<uint> AnyNumber { get; } =
        from high in Gen.Choose(0, 0xFFFF) from low in Gen.Choose(0, 0xFFFF) select ((uint)high << 16) | (uint)low;

    [Fact]
    public void Page_and_slot_are_a_number_and_no_other() => Check.One(
        Config.QuickThrowOnFailure.WithMaxTest(10_000),
        Prop.ForAll(Arb.From(AnyNumber), Holds));

    [Theory]
    [InlineData(0u)]
    [InlineData(255u)]
    [InlineData(256u)]
    [InlineData((65_280u << 8) - 1)]
    [InlineData(65_280u << 8)]
    [InlineData(int.MaxValue)]
    [InlineData(1u << 31)]
    [InlineData(uint.MaxValue)]
    public void The_ends_too(uint user) => Holds(user).ShouldBeTrue();

    [Fact]
    public void Places_are_different_numbers()
    {
        // of the last pages, only the first 256 slots are user numbers
        var seen = new HashSet<uint>();
        foreach (var page in (int[])[0, 255, 256, PageLayout.Pages - 1])
        {
            for (var slot = 0; slot < 256; slot++)
                seen.Add(PageLayout.User(page, slot)).ShouldBeTrue();
        }
    }

    [Fact]
    public void Neighbours_share_no_page() =>
        Enumerable.Range(1_000_000, 256).Select(user => PageLayout.Page((uint)user)).Distinct().Count().ShouldBe(256);

    private static bool Holds(uint user)
    {
        var (page, slot) = (PageLayout.Page(user), PageLayout.Slot(user));
        return page is >= 0 and < PageLayout.Pages && slot is >= 0 and < PageLayout.Slots && PageLayout.User(page, slot) == user;
    }
}
