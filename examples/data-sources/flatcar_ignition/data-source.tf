data "flatcar_ignition" "worker" {
  content = <<-EOT
    variant: flatcar
    version: 1.1.0
    storage:
      files:
        - path: /etc/motd
          mode: 0644
          contents:
            inline: |
              A worker.
  EOT

  snippets = [
    <<-EOT
      variant: flatcar
      version: 1.1.0
      systemd:
        units:
          - name: node-exporter.service
            enabled: true
            contents: |
              [Service]
              ExecStart=/opt/bin/node_exporter
              [Install]
              WantedBy=multi-user.target
    EOT
  ]

  strict              = true
  ssh_authorized_keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExampleExampleExampleExampleExampleExampleE admin"]
}
