namespace Aspire.Hosting.ApplicationModel;

/// <summary>An Aglow server that the app host starts as a program: the tool <c>aglow</c>, or a published <c>aglow-server</c>.</summary>
/// <param name="name">The name of the resource.</param>
/// <param name="command">The program: a name on the PATH, or a path.</param>
/// <param name="workingDirectory">Its working folder.</param>
public sealed class AglowResource(string name, string command, string workingDirectory)
    : ExecutableResource(name, command, workingDirectory), IAglowResource
{
    internal const string EndpointName = "http";

    /// <inheritdoc/>
    public EndpointReference PrimaryEndpoint => field ??= new(this, EndpointName);
}
