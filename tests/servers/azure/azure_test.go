package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/compute/armcompute/v8"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/network/armnetwork/v9"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/resources/armresources"
)

// Microsoft's clients, credential and pollers against this server.
func TestMicrosoftClients(t *testing.T) {
	ctx := context.Background()
	f := newFront()
	s := struct{ subscription, tenant, client, secret string }{usual, f.tenant, f.client, f.secret}
	web := httptest.NewTLSServer(f)
	defer web.Close()
	control := func(body string) {
		r, _ := http.NewRequest(http.MethodPut, web.URL+"/_control", bytes.NewBufferString(body))
		if _, err := web.Client().Do(r); err != nil {
			t.Fatal(err)
		}
	}
	control(`{"seconds": {"create:microsoft.compute/virtualmachines": 1.2, "delete": 0.5}, "page": 2}`)

	where := cloud.Configuration{ActiveDirectoryAuthorityHost: web.URL, Services: map[cloud.ServiceName]cloud.ServiceConfiguration{cloud.ResourceManager: {Endpoint: web.URL, Audience: "https://management.core.windows.net/"}}}
	common := policy.ClientOptions{Cloud: where, Transport: web.Client(), Retry: policy.RetryOptions{MaxRetries: 3, RetryDelay: 50 * time.Millisecond}}
	bad, _ := azidentity.NewClientSecretCredential(s.tenant, s.client, "wrong", &azidentity.ClientSecretCredentialOptions{ClientOptions: common, DisableInstanceDiscovery: true})
	if _, err := bad.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{"https://management.core.windows.net/.default"}}); err == nil {
		t.Fatal("a wrong secret was accepted")
	}
	cred, err := azidentity.NewClientSecretCredential(s.tenant, s.client, s.secret, &azidentity.ClientSecretCredentialOptions{ClientOptions: common, DisableInstanceDiscovery: true})
	must(t, err)
	options := &arm.ClientOptions{ClientOptions: common, DisableRPRegistration: true}
	wait := &runtime.PollUntilDoneOptions{Frequency: time.Second}

	groups, err := armresources.NewResourceGroupsClient(s.subscription, cred, options)
	must(t, err)
	_, err = groups.CreateOrUpdate(ctx, "rg", armresources.ResourceGroup{Location: to.Ptr("westeurope")}, nil)
	must(t, err)

	nets, err := armnetwork.NewVirtualNetworksClient(s.subscription, cred, options)
	must(t, err)
	np, err := nets.BeginCreateOrUpdate(ctx, "rg", "net", armnetwork.VirtualNetwork{Location: to.Ptr("westeurope"), Properties: &armnetwork.VirtualNetworkPropertiesFormat{
		AddressSpace: &armnetwork.AddressSpace{AddressPrefixes: []*string{to.Ptr("10.0.0.0/16")}},
		Subnets:      []*armnetwork.Subnet{{Name: to.Ptr("default"), Properties: &armnetwork.SubnetPropertiesFormat{AddressPrefix: to.Ptr("10.0.0.0/24")}}}}}, nil)
	must(t, err)
	_, err = np.PollUntilDone(ctx, wait)
	must(t, err)

	subnets, err := armnetwork.NewSubnetsClient(s.subscription, cred, options)
	must(t, err)
	subnet, err := subnets.Get(ctx, "rg", "net", "default", nil)
	must(t, err)
	ips, err := armnetwork.NewPublicIPAddressesClient(s.subscription, cred, options)
	must(t, err)
	ipPoller, err := ips.BeginCreateOrUpdate(ctx, "rg", "ip", armnetwork.PublicIPAddress{Location: to.Ptr("westeurope")}, nil)
	must(t, err)
	ip, err := ipPoller.PollUntilDone(ctx, wait)
	must(t, err)
	nics, err := armnetwork.NewInterfacesClient(s.subscription, cred, options)
	must(t, err)
	nicPoller, err := nics.BeginCreateOrUpdate(ctx, "rg", "nic", armnetwork.Interface{Location: to.Ptr("westeurope"), Properties: &armnetwork.InterfacePropertiesFormat{
		IPConfigurations: []*armnetwork.InterfaceIPConfiguration{{Name: to.Ptr("a"), Properties: &armnetwork.InterfaceIPConfigurationPropertiesFormat{Subnet: &armnetwork.Subnet{ID: subnet.ID}, PublicIPAddress: &armnetwork.PublicIPAddress{ID: ip.ID}}}}}}, nil)
	must(t, err)
	card, err := nicPoller.PollUntilDone(ctx, wait)
	must(t, err)

	vms, err := armcompute.NewVirtualMachinesClient(s.subscription, cred, options)
	must(t, err)
	custom := base64.StdEncoding.EncodeToString([]byte(`{"ignition":{"version":"3.4.0"}}`))
	vm := armcompute.VirtualMachine{Location: to.Ptr("westeurope"), Tags: map[string]*string{"group": to.Ptr("g1")},
		Plan: &armcompute.Plan{Publisher: to.Ptr("kinvolk"), Product: to.Ptr("flatcar-container-linux-free"), Name: to.Ptr("stable-gen2")},
		Properties: &armcompute.VirtualMachineProperties{
			HardwareProfile: &armcompute.HardwareProfile{VMSize: to.Ptr(armcompute.VirtualMachineSizeTypes("Standard_D2s_v5"))},
			StorageProfile: &armcompute.StorageProfile{ImageReference: &armcompute.ImageReference{Publisher: to.Ptr("kinvolk"), Offer: to.Ptr("flatcar-container-linux-free"), SKU: to.Ptr("stable-gen2"), Version: to.Ptr("latest")},
				OSDisk: &armcompute.OSDisk{CreateOption: to.Ptr(armcompute.DiskCreateOptionTypesFromImage), DeleteOption: to.Ptr(armcompute.DiskDeleteOptionTypesDelete)}},
			OSProfile:      &armcompute.OSProfile{ComputerName: to.Ptr("w1"), AdminUsername: to.Ptr("core"), CustomData: &custom},
			NetworkProfile: &armcompute.NetworkProfile{NetworkInterfaces: []*armcompute.NetworkInterfaceReference{{ID: card.ID, Properties: &armcompute.NetworkInterfaceReferenceProperties{DeleteOption: to.Ptr(armcompute.DeleteOptionsDelete)}}}}}}
	poller, err := vms.BeginCreateOrUpdate(ctx, "rg", "w1", vm, nil)
	must(t, err)
	now, err := vms.Get(ctx, "rg", "w1", nil)
	must(t, err)
	if *now.Properties.ProvisioningState != "Creating" || now.Properties.OSProfile.CustomData != nil {
		t.Error("while creating:", *now.Properties.ProvisioningState, now.Properties.OSProfile.CustomData)
	}
	made, err := poller.PollUntilDone(ctx, wait)
	must(t, err)
	if *made.Properties.ProvisioningState != "Succeeded" || *made.Properties.StorageProfile.ImageReference.ExactVersion != "4230.2.4" {
		t.Error("created:", *made.Properties.ProvisioningState)
	}
	view, err := vms.InstanceView(ctx, "rg", "w1", nil)
	must(t, err)
	if *view.Statuses[1].Code != "PowerState/running" {
		t.Error(*view.Statuses[1].Code)
	}
	// another customData on the same machine; a used network interface; a fault; a throttled call
	other := base64.StdEncoding.EncodeToString([]byte("x"))
	vm.Properties.OSProfile.CustomData = &other
	_, err = vms.BeginCreateOrUpdate(ctx, "rg", "w1", vm, nil)
	wants(t, err, 409, "PropertyChangeNotAllowed")
	_, err = nics.BeginDelete(ctx, "rg", "nic", nil)
	wants(t, err, 400, "NicInUse")
	_, err = vms.Get(ctx, "rg", "none", nil)
	wants(t, err, 404, "ResourceNotFound")
	_, err = vms.Get(ctx, "none", "w1", nil)
	wants(t, err, 404, "ResourceGroupNotFound")
	control(`{"faults": [{"match": "^GET .*virtualMachines/w1", "kind": "status", "status": 429, "code": "OperationNotAllowed", "retry_after": "1", "times": 2}]}`)
	begin := time.Now()
	_, err = vms.Get(ctx, "rg", "w1", nil)
	must(t, err)
	if time.Since(begin) < 1900*time.Millisecond {
		t.Error("Retry-After was not waited for:", time.Since(begin))
	}
	control(`{"seconds": {"create": 0.1}, "faults": [{"match": "^PUT .*disks/d1", "kind": "operation", "code": "OverconstrainedAllocationRequest", "text": "no room", "times": 1}]}`)
	disks, err := armcompute.NewDisksClient(s.subscription, cred, options)
	must(t, err)
	dp, err := disks.BeginCreateOrUpdate(ctx, "rg", "d1", armcompute.Disk{Location: to.Ptr("westeurope"), Properties: &armcompute.DiskProperties{DiskSizeGB: to.Ptr[int32](1), CreationData: &armcompute.CreationData{CreateOption: to.Ptr(armcompute.DiskCreateOptionEmpty)}}}, nil)
	must(t, err)
	_, err = dp.PollUntilDone(ctx, wait)
	var failed *azcore.ResponseError
	if !errors.As(err, &failed) || failed.ErrorCode != "OverconstrainedAllocationRequest" {
		t.Error("failed operation:", err)
	}
	// lists, pages and deletion with what hangs on it
	control(`{"page": 1, "seconds": {"delete": 1}}`)
	count := 0
	all, err := armresources.NewClient(s.subscription, cred, options)
	must(t, err)
	for pager := all.NewListPager(&armresources.ClientListOptions{Filter: to.Ptr("tagName eq 'group' and tagValue eq 'g1'")}); pager.More(); {
		page, err := pager.NextPage(ctx)
		must(t, err)
		count += len(page.Value)
	}
	if count != 2 { // its disk has the machine's tags
		t.Error("tagged resources:", count)
	}
	end, err := vms.BeginDelete(ctx, "rg", "w1", nil)
	must(t, err)
	_, err = end.PollUntilDone(ctx, wait)
	must(t, err)
	_, err = vms.Get(ctx, "rg", "w1", nil)
	wants(t, err, 404, "ResourceNotFound")
	_, err = nics.Get(ctx, "rg", "nic", nil)
	wants(t, err, 404, "ResourceNotFound")
	if _, err = ips.Get(ctx, "rg", "ip", nil); err != nil {
		t.Error("the public address went too:", err)
	}
	images, err := armcompute.NewVirtualMachineImagesClient(s.subscription, cred, options)
	must(t, err)
	versions, err := images.List(ctx, "westeurope", "kinvolk", "flatcar-container-linux-free", "stable-gen2", nil)
	must(t, err)
	if len(versions.VirtualMachineImageResourceArray) != 3 {
		t.Error("versions:", len(versions.VirtualMachineImageResourceArray))
	}
	gallery, err := armcompute.NewCommunityGalleryImageVersionsClient(s.subscription, cred, options)
	must(t, err)
	page, err := gallery.NewListPager("westeurope", community, galleries[0], nil).NextPage(ctx)
	must(t, err)
	if len(page.Value) != 3 {
		t.Error("gallery:", len(page.Value))
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wants(t *testing.T, err error, status int, code string) {
	t.Helper()
	var e *azcore.ResponseError
	if !errors.As(err, &e) || e.StatusCode != status || e.ErrorCode != code {
		t.Errorf("wanted %d %s, got %v", status, code, err)
	}
}
