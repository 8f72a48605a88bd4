using System.Runtime.InteropServices;
using Aglow.AspNetCore.Endpoints;
using Aglow.Changes;
using Aglow.Demo;
using Aglow.Durable;
using Aglow.Sqlite;
using Aglow.Stores.Tests;

namespace Aglow.Tests;

/// <summary>The store with the demo in front of it meets the contract of stores, for the demo's user numbers and for all others.</summary>
public class DemoPlaneStoreTests : PlaneStoreContract
{
    protected override ValueTask<IPlaneStore> CreateAsync() => new(new DemoPlaneStore(new MemoryPlaneStore(new PageBudget(1024))));

    [Fact]
    public async Task The_store_behind_never_hears_of_the_demos_numbers()
    {
        await using var behind = new MemoryPlaneStore(new PageBudget(1024));
        var store = new DemoPlaneStore(behind);
        var old = new uint[3];
        await store.ExchangeAsync(
            Plane.Pulse, new uint[] { 7, UserId.FirstDemoNumber, UserId.Nobody - 1 }, new uint[] { 100, 100, 100 }, old);
        await store.ExchangeAsync(Plane.Pulse, UserId.FirstDemoNumber + 1, 100);
        behind.Pages(Plane.Pulse).ShouldBe([7]);
        behind.Registered.ShouldBe(1);
        (await store.PagesAsync(Plane.Pulse)).Count.ShouldBe(4);
        await store.Words.DisposeAsync();
    }
}

public class DemoScriptTests
{
    [Fact]
    public void Everybody_comes_and_goes_in_every_way_within_the_hour()
    {
        var script = new DemoScript(200, seed: 1, now: 1000);
        var seen = new HashSet<(int Person, DemoDeed Deed)>();
        var deeds = new List<(int Person, DemoDeed Deed)>();
        var (fewest, most, total) = (200, 0, 0);
        for (var now = 1000u; now < 4600; now++)
        {
            deeds.Clear();
            script.Until(now, deeds);
            seen.UnionWith(deeds);
            total += deeds.Count;
            if (now < 1010)
                continue;
            var here = Enumerable.Range(0, 200).Count(script.IsHere);
            (fewest, most) = (Math.Min(fewest, here), Math.Max(most, here));
        }

        foreach (var deed in new[] { DemoDeed.Come, DemoDeed.Leave })
            seen.Count(s => s.Deed == deed).ShouldBe(200);
        foreach (var deed in Enum.GetValues<DemoDeed>())
            seen.Count(s => s.Deed == deed).ShouldBeGreaterThan(100, $"{deed}");
        fewest.ShouldBeGreaterThan(60);
        most.ShouldBeLessThan(160);
        (total / 3600.0).ShouldBeInRange(1, 5);
    }

    [Fact]
    public void The_same_seed_tells_the_same_story()
    {
        Tell().ShouldBe(Tell());

        static List<(int Person, DemoDeed Deed)> Tell()
        {
            var script = new DemoScript(50, seed: 7, now: 1);
            var deeds = new List<(int, DemoDeed)>();
            for (var now = 1u; now < 600; now++)
                script.Until(now, deeds);
            return deeds;
        }
    }

    [Fact]
    public void No_name_is_given_twice()
    {
        var people = new DemoPeople(AglowOptions.MaxDemoPeople, new HashSet<string>());
        people.All.Count.ShouldBe(AglowOptions.MaxDemoPeople);
        people.All.Select(p => p.DisplayName).Distinct().Count().ShouldBe(AglowOptions.MaxDemoPeople);
        people.All.ShouldAllBe(
            p => DemoPeople.IsNumber(p.Number) && p.Number < UserId.Nobody && PageLayout.Page(p.Number) >= DemoPeople.FirstPage);
        PageLayout.Page(UserId.FirstDemoNumber - 1).ShouldBeLessThan(DemoPeople.FirstPage);
    }
}

public sealed class DemoTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();
    private readonly ManualTimeProvider _time = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task They_come_and_go_and_are_busy_and_away()
    {
        await using var opened = await OpenAsync(demo: 100);
        var presence = opened.Presence;
        await UntilAsync(async () => (await CountAsync(presence)) > 30);
        var before = await StatusesAsync(presence);
        // some people were online earlier and are offline now
        before.ShouldContain(p => !p.IsOnline && p.LastSeen > 0);
        before.ShouldAllBe(p => p.LastSeen > 0);

        var words = new HashSet<PresenceStatus>();
        await UntilAsync(async () =>
        {
            words.UnionWith((await StatusesAsync(presence)).Select(p => p.Status));
            return words.Count == Enum.GetValues<PresenceStatus>().Length;
        });
        (await StatusesAsync(presence)).ShouldNotBe(before);
    }

    [Fact]
    public async Task Nothing_of_them_is_kept_and_no_number_of_anybody_is_used()
    {
        await using (var opened = await OpenAsync(demo: 50))
        {
            await UntilAsync(async () => (await CountAsync(opened.Presence)) > 10);
            opened.Registered.ShouldBe(0);
            (await opened.Presence.RegisterAsync(Key("alice"))).ShouldBe(UserId.FirstDirectoryNumber);
            await opened.Presence.WriteProfilesAsync([new(UserId.FirstDirectoryNumber, "alice", null)], create: true);
            (await opened.Presence.HeartbeatAsync(42)).ShouldBe(Admission.Accepted);
        }

        await using var after = await OpenAsync(demo: 0);
        after.Registered.ShouldBe(1);
        (await after.Presence.SearchUsersAsync("", 100, null)).Users.Select(u => u.Id).ShouldBe(["alice"]);
        (await after.Presence.FindProfileAsync(UserId.FirstDemoNumber)).ShouldBeNull();
        (await after.Presence.StatusAsync(UserId.FirstDemoNumber)).ShouldBe(new Presence(PresenceStatus.Offline, 0));
        (await after.Presence.StatusAsync(42)).LastSeen.ShouldBeGreaterThan(0u);
    }

    [Fact]
    public async Task No_file_names_them()
    {
        await using (var opened = await OpenAsync(demo: 100))
            await UntilAsync(async () => (await StatusesAsync(opened.Presence)).Count(p => p.Status == PresenceStatus.Busy) > 3);
        using var presence = PresenceFile.ConnectToRead(Path.Combine(_folder.Path, PresenceFile.FileName));
        ChangeFile.ReadUsers(presence).ShouldBeEmpty();
        using var rows = new SqliteStatement(presence, "SELECT entries FROM journal");
        while (rows.Step())
            MemoryMarshal.Cast<byte, uint>(rows.Blob(0)).ToArray().ShouldAllBe(n => n < UserId.FirstDemoNumber);
    }

    [Fact]
    public async Task Nobody_else_speaks_for_them()
    {
        await using var opened = await OpenAsync(demo: 5);
        var name = DemoPeople.Names(1).Single();
        var number = await opened.Presence.RegisterAsync(Key(name));
        number.ShouldBe(UserId.FirstDemoNumber);
        (await opened.Presence.WriteProfilesAsync([new(number, name, null)], create: true)).Conflict.ShouldBe(ProfileConflict.UserTaken);
        (await opened.Presence.WriteProfilesAsync([new(42, name, null)], create: true)).Conflict.ShouldBe(ProfileConflict.NameTaken);
        await Should.ThrowAsync<NotSupportedException>(async () => await opened.Presence.DeleteUserAsync(number));
        await Should.ThrowAsync<NotSupportedException>(async () => await opened.Presence.FollowAsync(number, [42], follow: true));
        (await opened.Presence.FollowAsync(42, [number], follow: true)).ShouldBe([number]);
    }

    [Fact]
    public async Task A_name_that_somebody_has_stays_theirs()
    {
        var name = DemoPeople.Names(3).Last();
        uint number;
        await using (var before = await OpenAsync(demo: 0))
        {
            number = await before.Presence.RegisterAsync(Key(name));
            await before.Presence.WriteProfilesAsync([new(number, name, "The real one")], create: true);
        }

        await using var opened = await OpenAsync(demo: 3);
        (await opened.Presence.FindAsync(Key(name))).ShouldBe(number);
        (await opened.Presence.SearchUsersAsync("", 100, null)).Users.Count.ShouldBe(3);
    }

    [Theory]
    [InlineData("", 7)]
    [InlineData("an", 3)]
    [InlineData("DEMO-A", 1)]
    [InlineData("ada", 100)]
    [InlineData("nobody has this name", 10)]
    public async Task A_search_finds_who_is_registered_first_and_each_once(string query, int limit)
    {
        await using var opened = await OpenAsync(demo: 200);
        foreach (var name in new[] { "zada", "anna", "ada" })
            await opened.Presence.WriteProfilesAsync([new(await opened.Presence.RegisterAsync(Key(name)), name, null)], create: true);
        List<DirectoryUser> found = [];
        string? cursor = null;
        do
        {
            var page = await opened.Presence.SearchUsersAsync(query, limit, cursor);
            page.Users.Count.ShouldBeLessThanOrEqualTo(limit);
            found.AddRange(page.Users);
            cursor = page.Next;
        }
        while (cursor is not null);

        found.Select(u => u.User).ShouldBeUnique();
        found.Select(u => DemoPeople.IsNumber(u.User)).ShouldBeInOrder();
        found.Count(u => DemoPeople.IsNumber(u.User))
            .ShouldBe(new DemoPeople(200, new HashSet<string>()).All.Count(p => IsFound(p.Name) || IsFound(p.DisplayName)));
        await Should.ThrowAsync<FormatException>(async () => await opened.Presence.SearchUsersAsync(query, limit, "demo.x"));

        bool IsFound(string name) => query.Length >= 3
            ? name.Contains(query, StringComparison.OrdinalIgnoreCase)
            : name.StartsWith(query, StringComparison.OrdinalIgnoreCase);
    }

    [Theory]
    [InlineData(-1)]
    [InlineData(5001)]
    public void A_number_of_people_out_of_bounds_is_one_clear_line(int people) =>
        new AglowOptions { DemoPeople = people }.Validate().ShouldBe([$"demo is {people}: set it from 0 (nobody) to 5000."]);

    private Task<EmbeddedPresence> OpenAsync(int demo) => EmbeddedPresence.OpenAsync(
        new AglowOptions { DataDirectory = _folder.Path, DemoPeople = demo, MemoryMegabytes = 64 }, _time, NullLoggerFactory.Instance);

    private static UserId Key(string name) => UserId.TryParse(name, out var key) ? key : throw new InvalidOperationException();

    private static async Task<long> CountAsync(PresenceService presence) =>
        (await presence.CountAsync(presence.Definitions.Default)).Online;

    private static async Task<Presence[]> StatusesAsync(PresenceService presence)
    {
        uint[] people = [.. Enumerable.Range(0, 100).Select(i => UserId.FirstDemoNumber + (uint)i)];
        var statuses = new Presence[people.Length];
        await presence.Statuses.ReadAsync(people, presence.Definitions.Default, statuses);
        return statuses;
    }

    // Advances time and checks again, because the demo's loop continues on another thread.
    private async Task UntilAsync(Func<Task<bool>> holds)
    {
        var clock = System.Diagnostics.Stopwatch.StartNew();
        while (!await holds())
        {
            clock.Elapsed.ShouldBeLessThan(TimeSpan.FromSeconds(60));
            _time.Advance(TimeSpan.FromSeconds(1));
            // gives the demo's loop time to take the step, so that its people send heartbeats within their leases
            await Task.Delay(1);
        }
    }
}
