using System.Collections.Concurrent;
using System.Text.Json.Serialization;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.SignalR;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;

namespace Aglow.Benchmarks.Sockets;

/// <summary>Presence on a SignalR hub, as most people write it: one group per user, and each change is sent to it at once.</summary>
internal static class SignalRServer
{
    public static WebApplication Build()
    {
        var builder = WebApplication.CreateSlimBuilder();
        HostedServers.LogWarnings(builder.Logging);
        builder.Services.AddSignalR();
        builder.Services.AddSingleton<HubPresence>();
        builder.Services.AddHostedService(s => s.GetRequiredService<HubPresence>());
        var app = builder.Build();
        app.MapHub<PresenceHub>("/hub");
        return app;
    }

    internal sealed record Record(
        [property: JsonPropertyName("user_id")] int UserId,
        [property: JsonPropertyName("is_online")] bool IsOnline,
        [property: JsonPropertyName("status")] string Status,
        [property: JsonPropertyName("last_seen")] long? LastSeen);

    /// <summary>The users who are online, and their watchers.</summary>
    internal sealed class HubPresence(IHubContext<PresenceHub> hub) : BackgroundService
    {
        private const int LeaseSeconds = 30;
        private readonly ConcurrentDictionary<int, (bool Online, long LastSeen)> _users = new();

        public static string Group(int user) => $"user:{user}";

        public Record Read(int user) => _users.TryGetValue(user, out var state)
            ? new Record(user, state.Online, state.Online ? "online" : "offline", state.LastSeen)
            : new Record(user, false, "offline", null);

        public Task SetAsync(int user, bool online)
        {
            var before = _users.TryGetValue(user, out var was) && was.Online;
            _users[user] = (online, online ? DateTimeOffset.UtcNow.ToUnixTimeSeconds() : was.LastSeen);
            return before == online ? Task.CompletedTask : hub.Clients.Group(Group(user)).SendAsync("presence", new[] { Read(user) });
        }

        protected override async Task ExecuteAsync(CancellationToken stoppingToken)
        {
            using var timer = new PeriodicTimer(TimeSpan.FromSeconds(1));
            while (await timer.WaitForNextTickAsync(stoppingToken))
            {
                var oldest = DateTimeOffset.UtcNow.ToUnixTimeSeconds() - LeaseSeconds;
                foreach (var (user, state) in _users)
                {
                    if (state.Online && state.LastSeen < oldest)
                        await SetAsync(user, online: false);
                }
            }
        }
    }

    internal sealed class PresenceHub(HubPresence presence) : Hub
    {
        public async Task Watch(int[] users)
        {
            foreach (var user in users)
                await Groups.AddToGroupAsync(Context.ConnectionId, HubPresence.Group(user));
            await Clients.Caller.SendAsync("presence", users.Select(presence.Read));
        }

        public async Task Heartbeat(int[] users)
        {
            foreach (var user in users)
                await presence.SetAsync(user, online: true);
        }

        public async Task Leave(int[] users)
        {
            foreach (var user in users)
                await presence.SetAsync(user, online: false);
        }
    }
}
