using Aspire.Hosting.ApplicationModel;

namespace Aspire.Hosting;

/// <summary>Adds Aglow presence servers to an app host.</summary>
/// <remarks>
/// <code>
///   var presence = builder.AddAglow("presence").WithRedis(redis).WithPostgres(database);
///   builder.AddProject&lt;Projects.Shop&gt;("shop").WithReference(presence).WaitFor(presence);
/// </code>
/// Each has a connection string, a health check (<c>/health/ready</c>), telemetry to the dashboard, and a link to its page. Settings are
/// <c>AGLOW_…</c> variables: <c>WithEnvironment("AGLOW_LEASE_SECONDS", "60")</c>.
/// </remarks>
public static class AglowBuilderExtensions
{
    // the port of the image (deploy/docker/Dockerfile)
    private const int ContainerPort = 8080;

    /// <summary>
    /// Adds a server that runs as a program. It listens on this machine only, in open mode: any caller may act for any user. Its data is
    /// in <c>.aglow/NAME</c> in the folder of the app host.
    /// </summary>
    /// <param name="builder">The builder of the app host.</param>
    /// <param name="name">The name of the resource, and of the connection string.</param>
    /// <param name="port">The port that clients see; null: any that is free.</param>
    /// <param name="command">
    /// The program: <c>aglow</c> (<c>dotnet tool install -g Aglow.Tool</c>), or the path of a published <c>aglow-server</c>.
    /// </param>
    public static IResourceBuilder<AglowResource> AddAglow(
        this IDistributedApplicationBuilder builder, [ResourceName] string name, int? port = null, string command = "aglow")
    {
        ArgumentNullException.ThrowIfNull(builder);
        ArgumentException.ThrowIfNullOrEmpty(name);
        ArgumentException.ThrowIfNullOrEmpty(command);
        var resource = new AglowResource(name, command, builder.AppHostDirectory);
        // not the port that clients see: the orchestrator stands between
        var listensOn = resource.PrimaryEndpoint.Property(EndpointProperty.TargetPort);
        return Finish(builder.AddResource(resource)
            .WithArgs("serve")
            .WithHttpEndpoint(port: port, name: AglowResource.EndpointName)
            .WithEnvironment("AGLOW_URLS", ReferenceExpression.Create($"http://127.0.0.1:{listensOn}"))
            .WithEnvironment("AGLOW_DATA", Path.Combine(builder.AppHostDirectory, ".aglow", name)));
    }

    /// <summary>
    /// Adds a server that runs as a container. While you develop, it is in open mode. A published app host takes tokens, as the image does:
    /// set <c>AGLOW_JWT_AUTHORITY</c> or <c>AGLOW_JWT_SECRET</c>. Data is in <c>/data</c>: keep it with <c>WithVolume(name, "/data")</c>.
    /// </summary>
    /// <param name="builder">The builder of the app host.</param>
    /// <param name="name">The name of the resource, and of the connection string.</param>
    /// <param name="image">The image, as you pushed it or as a release names it.</param>
    /// <param name="tag">The tag of the image; null: <c>latest</c>.</param>
    /// <param name="port">The port that clients see; null: any that is free.</param>
    public static IResourceBuilder<AglowContainerResource> AddAglowContainer(
        this IDistributedApplicationBuilder builder, [ResourceName] string name, string image, string? tag = null, int? port = null)
    {
        ArgumentNullException.ThrowIfNull(builder);
        ArgumentException.ThrowIfNullOrEmpty(name);
        ArgumentException.ThrowIfNullOrEmpty(image);
        var aglow = builder.AddResource(new AglowContainerResource(name))
            .WithImage(image, tag ?? "latest")
            .WithHttpEndpoint(port: port, targetPort: ContainerPort, name: AglowResource.EndpointName);
        if (builder.ExecutionContext.IsRunMode)
            aglow.WithEnvironment("AGLOW_AUTH", "open").WithEnvironment("AGLOW_ALLOW_OPEN", "true");
        return Finish(aglow);
    }

    /// <summary>Several servers share this Redis or Valkey, instead of a folder.</summary>
    public static IResourceBuilder<T> WithRedis<T>(this IResourceBuilder<T> aglow, IResourceBuilder<IResourceWithConnectionString> redis)
        where T : IAglowResource => Connect(aglow, "AGLOW_REDIS", redis);

    /// <summary>Servers that share a Redis have their users in this PostgreSQL database.</summary>
    public static IResourceBuilder<T> WithPostgres<T>(
        this IResourceBuilder<T> aglow, IResourceBuilder<IResourceWithConnectionString> database)
        where T : IAglowResource => Connect(aglow, "AGLOW_POSTGRES", database);

    // a variable and no flag, because other users of the machine see flags, and connection strings hold passwords
    private static IResourceBuilder<T> Connect<T>(
        IResourceBuilder<T> aglow, string variable, IResourceBuilder<IResourceWithConnectionString> store)
        where T : IAglowResource
    {
        ArgumentNullException.ThrowIfNull(aglow);
        ArgumentNullException.ThrowIfNull(store);
        return aglow.WithEnvironment(variable, store).WithReferenceRelationship(store).WaitFor(store);
    }

    private static IResourceBuilder<T> Finish<T>(IResourceBuilder<T> aglow)
        where T : IAglowResource => aglow
            .WithHttpHealthCheck("/health/ready")
            .WithOtlpExporter()
            .WithUrlForEndpoint(AglowResource.EndpointName, static url => url.DisplayText = "Who is online")
            .WithIconName("PresenceAvailable");
}
