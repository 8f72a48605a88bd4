namespace Aspire.Hosting.ApplicationModel;

/// <summary>An Aglow server that runs as a container.</summary>
/// <param name="name">The name of the resource.</param>
public sealed class AglowContainerResource(string name) : ContainerResource(name), IAglowResource
{
    /// <inheritdoc/>
    public EndpointReference PrimaryEndpoint => field ??= new(this, AglowResource.EndpointName);
}
