using System.Collections.Concurrent;
using Aglow.AspNetCore.Access;
using Aglow.Hubs.Tests;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Identity;

namespace Aglow.Client.Tests;

/// <summary>Somebody's own app with ASP.NET Core Identity, whose users are in memory. It checks security stamps every second.</summary>
internal static class IdentityApp
{
    public static Task<OwnApp> StartAsync(Action<HttpContext>? after = null) => OwnApp.StartAsync(
        (builder, folder) =>
        {
            builder.Services.AddAglow(o => (o.DataDirectory, o.HeartbeatSeconds, o.LeaseSeconds) = (folder, 1, 30));
            builder.Services.AddSignalR(static o => o.ClientTimeoutInterval = TimeSpan.FromSeconds(30)).AddAglowPresence();
            builder.Services.AddAuthorizationBuilder().AddPolicy(AglowPolicies.Backend, static policy => policy.RequireAuthenticatedUser());
            builder.Services.AddAuthentication(IdentityConstants.ApplicationScheme).AddIdentityCookies();
            builder.Services.AddSingleton<IUserStore<Member>, Members>();
            builder.Services.AddIdentityCore<Member>().AddSignInManager();
            builder.Services.Configure<SecurityStampValidatorOptions>(static o => o.ValidationInterval = TimeSpan.FromSeconds(1));
        },
        app =>
        {
            app.Use(async (context, next) =>
            {
                await next(context);
                after?.Invoke(context);
            });
            app.UseAuthentication();
            app.UseAuthorization();
            app.MapAglow().RequireAuthorization();
            app.MapHub<Room>("/hub").RequireAuthorization();
            app.MapGet("/page", static () => "a page").RequireAuthorization();
            app.MapPost("/sign-in/{name}", TakeInAsync);
            app.MapPost("/stamp/{name}", ChangeStampAsync);
        });

    public static async Task<string> SignInAsync(OwnApp app, string name)
    {
        using var http = app.Http();
        using var answer = await http.PostAsync($"/sign-in/{name}", null);
        return answer.EnsureSuccessStatusCode().Headers.GetValues("Set-Cookie").First().Split(';')[0];
    }

    private static async Task TakeInAsync(string name, UserManager<Member> members, SignInManager<Member> signIn)
    {
        var member = await members.FindByNameAsync(name);
        if (member is null)
        {
            member = new Member { Name = name };
            (await members.CreateAsync(member)).Succeeded.ShouldBeTrue();
        }

        await signIn.SignInAsync(member, isPersistent: true);
    }

    private static async Task ChangeStampAsync(string name, UserManager<Member> members) =>
        (await members.UpdateSecurityStampAsync((await members.FindByNameAsync(name))!)).Succeeded.ShouldBeTrue();
}

internal sealed class Member
{
    public required string? Name { get; set; }

    public string? Normalized { get; set; }

    public string? Stamp { get; set; }
}

internal sealed class Members : IUserSecurityStampStore<Member>
{
    private readonly ConcurrentDictionary<string, Member> _members = new();

    public Task<IdentityResult> CreateAsync(Member user, CancellationToken cancellationToken)
    {
        _members[user.Name!] = user;
        return Task.FromResult(IdentityResult.Success);
    }

    public Task<IdentityResult> UpdateAsync(Member user, CancellationToken cancellationToken) => Task.FromResult(IdentityResult.Success);

    public Task<IdentityResult> DeleteAsync(Member user, CancellationToken cancellationToken) => throw new NotSupportedException();

    public Task<Member?> FindByIdAsync(string userId, CancellationToken cancellationToken) =>
        Task.FromResult(_members.GetValueOrDefault(userId));

    public Task<Member?> FindByNameAsync(string normalizedUserName, CancellationToken cancellationToken) =>
        Task.FromResult(_members.Values.FirstOrDefault(member => member.Normalized == normalizedUserName));

    public Task<string> GetUserIdAsync(Member user, CancellationToken cancellationToken) => Task.FromResult(user.Name!);

    public Task<string?> GetUserNameAsync(Member user, CancellationToken cancellationToken) => Task.FromResult(user.Name);

    public Task SetUserNameAsync(Member user, string? userName, CancellationToken cancellationToken)
    {
        user.Name = userName;
        return Task.CompletedTask;
    }

    public Task<string?> GetNormalizedUserNameAsync(Member user, CancellationToken cancellationToken) => Task.FromResult(user.Normalized);

    public Task SetNormalizedUserNameAsync(Member user, string? normalizedName, CancellationToken cancellationToken)
    {
        user.Normalized = normalizedName;
        return Task.CompletedTask;
    }

    public Task<string?> GetSecurityStampAsync(Member user, CancellationToken cancellationToken) => Task.FromResult(user.Stamp);

    public Task SetSecurityStampAsync(Member user, string stamp, CancellationToken cancellationToken)
    {
        user.Stamp = stamp;
        return Task.CompletedTask;
    }

    public void Dispose()
    {
    }
}
