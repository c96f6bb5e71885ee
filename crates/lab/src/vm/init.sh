#!/bin/busybox sh
# The first program of the guest. Gives every NIC to the driver NIC_DRIVER (from the kernel's command line), runs weir, then runs the commands that come in by
# the second serial line: one line each, answered by what weir prints and a line `=CODE`. `end` ends weir, then all.
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mkdir -p /run/weir /var
ln -s /run /var/run
for module in /modules/*.ko; do insmod "$module"; done

ethernet=0x020000
for device in /sys/bus/pci/devices/*; do
    [ "$(cat "$device/class")" = "$ethernet" ] || continue
    echo "$NIC_DRIVER" > "$device/driver_override"
    echo "${device##*/}" > "/sys/bus/pci/drivers/$NIC_DRIVER/bind"
done

stty -F /dev/ttyS1 raw -echo
exec 3<>/dev/ttyS1
weir run --config /weir.ron &
daemon=$!
until weir status > /dev/null 2>&1; do
    if ! kill -0 "$daemon" 2> /dev/null; then
        echo '=1' >&3
        poweroff -f
    fi
    sleep 0.2
done
echo '=0' >&3
while read -r words <&3; do
    if [ "$words" = end ]; then
        weir stop
        wait "$daemon"
        echo "=$?" >&3
        break
    fi
    # shellcheck disable=SC2086 # The words are to be split.
    weir $words > /answer 2>&1
    code=$?
    cat /answer >&3
    echo "=$code" >&3
done
poweroff -f
