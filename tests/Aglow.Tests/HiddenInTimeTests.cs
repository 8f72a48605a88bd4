using System.Reflection;
using System.Text;

namespace Aglow.Tests;

/// <summary>
/// The first read of a user after a restart makes the same calls, whether or not the user came back.
/// <c>./aglow bench door --parts hidden</c> measures that it also takes the same time.
/// </summary>
public sealed class HiddenInTimeTests : IAsyncDisposable
{
    private readonly TemporaryFolder _folder = new();
    private readonly SqliteUserDirectory _directory;

    public HiddenInTimeTests() => _directory = SqliteUserDirectory.Open(_folder.Path, TimeProvider.System);

    public async ValueTask DisposeAsync()
    {
        await _directory.DisposeAsync();
        _folder.Dispose();
    }

    [Fact]
    public async Task What_a_read_touches_does_not_depend_on_what_its_user_did()
    {
        await _directory.RegisterAsync(["came back", "gone"], new uint[2]);
        List<string> reads = [], acts = [];
        await using var presence = await RestartAsync(reads, acts);
        var user = UserId.Parse("came back");
        var index = await presence.RegisterAsync(user);
        await presence.HeartbeatAsync(index, active: true);
        await presence.IsKnownAsync(index, ofOneself: true);
        await presence.FindProfileAsync(index, ofOneself: true);
        await presence.SubscriptionsAsync(index);
        await presence.FindIdsAsync(new[] { index }, new string?[1], ofOneself: true);
        acts.ShouldNotBeEmpty();
        reads.ShouldBeEmpty("what the user did themself");

        List<List<string>> touched = [];
        foreach (var name in new[] { "came back", "gone" })
        {
            await presence.StatusAsync(UserId.Parse(name));
            await presence.StatusAsync(UserId.Parse(name));
            touched.Add([.. reads]);
            reads.Clear();
        }

        touched[0].ShouldBe(touched[1]);
        touched[0].ShouldBe([nameof(IUserDirectory.FindIndexesAsync)], "the second read is answered from memory");
    }

    [Fact]
    public async Task Batches_are_read_as_single_users_are()
    {
        await _directory.RegisterAsync(["came back", "gone"], new uint[2]);
        List<string> reads = [];
        await using var presence = await RestartAsync(reads, []);
        await presence.HeartbeatAsync(await presence.RegisterAsync(UserId.Parse("came back")));
        foreach (var name in new[] { "came back", "gone" })
        {
            using var users = new UserBatch();
            users.TryAdd(Encoding.UTF8.GetBytes(name), presence.RequestedKeys).ShouldBeTrue();
            users.UnknownCount.ShouldBe(1, name);
            await presence.FindRequestedAsync(users);
            users.UnknownCount.ShouldBe(0, name);
            reads.ShouldBe([nameof(IUserDirectory.FindIndexesAsync)], name);
            reads.Clear();
        }
    }

    [Fact]
    public async Task A_user_who_hides_is_known_without_a_look_at_what_they_did()
    {
        var indexes = new uint[2];
        await _directory.RegisterAsync(["came", "never came"], indexes);
        List<string> reads = [];
        await using var presence = await RestartAsync(reads, []);
        foreach (var index in indexes)
            await presence.SetVisibilityAsync(index, OnlineVisibility.Nobody, null);
        await presence.HeartbeatAsync(indexes[0]);
        reads.Clear();
        foreach (var index in indexes)
            (await presence.IsKnownAsync(index)).ShouldBeTrue();
        reads.ShouldBeEmpty();
    }

    private async Task<PresenceService> RestartAsync(List<string> reads, List<string> acts)
    {
        var options = new AglowOptions { MemoryMegabytes = 512, KnownKeys = 1024 };
        var directory = Noting.Of(_directory, reads, Noting.Of(_directory.OfActs, acts, null));
        var presence = new PresenceService(
            new MemoryPlaneStore(PageBudget.Of(options)),
            directory,
            new LocalTransitionBus(),
            new Clock(TimeProvider.System, new StallGuard(20)),
            options,
            new AglowMetrics(),
            new AglowLog(NullLogger.Instance));
        await presence.StartAsync();
        reads.Clear();
        acts.Clear();
        return presence;
    }

    /// <summary>A directory that notes which of its methods are called.</summary>
    public class Noting : DispatchProxy
    {
        private List<string> _calls = [];
        private IUserDirectory _inner = null!;
        private IUserDirectory? _ofActs;

        public static IUserDirectory Of(IUserDirectory inner, List<string> calls, IUserDirectory? ofActs)
        {
            var proxy = Create<IUserDirectory, Noting>();
            var noting = (Noting)(object)proxy;
            (noting._inner, noting._calls, noting._ofActs) = (inner, calls, ofActs);
            return proxy;
        }

        protected override object? Invoke(MethodInfo? targetMethod, object?[]? args)
        {
            if (targetMethod!.Name == "get_OfActs" && _ofActs is not null)
                return _ofActs;
            if (!targetMethod.IsSpecialName)
                _calls.Add(targetMethod.Name);
            return targetMethod.Invoke(_inner, args);
        }
    }
}
